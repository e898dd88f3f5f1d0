/** A running config, and how it becomes another one while requests go on. */
import type { Gateway, GatewayRoute } from '../../adapters/http.js'
import { compileModules } from '../../config/compile.js'
import type { Config, RouteConfig } from '../../config/schema.js'
import type { LoadedConfig } from '../../config.js'
import type { Mesh } from '../../index.js'
import type { LocalFleet } from './fleet.js'
import { definePolicies, instanceSpecs, modulesOf } from './instance-spec.js'
import type { Upstreams } from './upstreams.js'

export interface LiveParts {
  mesh: Mesh
  fleet: LocalFleet
  upstreams: Upstreams
  gateway: Gateway | undefined
}

/**
 * Makes what runs into what `config` says. What is new serves before anything is sent there, what changes changes in one
 * turn of this thread (each service's policy and members, and all routes, by one swap each), and what goes is drained
 * after nothing is sent there any more. So no request is lost, and a step that fails is undone by applying the config
 * that ran before. `onSwitch` is called in the turn that the next request finds the new config.
 */
export async function applyConfig(
  parts: LiveParts,
  { config, folder }: LoadedConfig,
  onSwitch: () => void = () => {},
): Promise<void> {
  const { mesh, fleet, upstreams, gateway } = parts
  const compiled = await compileModules(modulesOf(config, folder, false))
  const specs = instanceSpecs(config, folder, compiled)
  const running = new Set(fleet.instances.map(({ id }) => id))
  const wanted = new Set(specs.map(({ id }) => id))
  await fleet.grow(specs.filter(({ id }) => !running.has(id)))

  // One turn from here: nothing of this thread is routed by half of it.
  if (gateway && config.gateway) {
    const { routes, timeoutMs, limits } = config.gateway
    gateway.reconfigure({ routes: gatewayRoutes(routes, config), timeoutMs, limits })
  }
  upstreams.bring(config)
  fleet.describe(specs)
  definePolicies(mesh, specs)
  onSwitch()

  await Promise.all([
    fleet.shrink([...running].filter((id) => !wanted.has(id))),
    upstreams.prune(config),
  ]) // biome-ignore format: two
}

/** Routes as the gateway takes them. A bare name is an upstream when there is one of that name, else a service. */
export function gatewayRoutes(routes: Record<string, RouteConfig>, config: Config): Record<string, GatewayRoute> {
  return Object.fromEntries(
    Object.entries(routes).map(([key, route]) => {
      if (typeof route !== 'string') return [key, route]
      return [key, Object.hasOwn(config.upstreams, route) ? { upstream: route } : { service: route }]
    }),
  )
}
