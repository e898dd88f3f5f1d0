/** Two configs as the two sides of a shadow evaluation: the services whose policy or instances differ. */
import { type Config, mergePolicies } from '../../config/schema.js'
import type { Mesh, ServiceInfo } from '../../index.js'
import type { ShadowInstance, ShadowPlan, ShadowSide } from '../../reload/shadow.js'
import { instanceSpecs } from './instance-spec.js'
import { INSTANCE_FIELD } from './serve-instance.js'

/** Latency of an instance that has not been measured, where nothing of its service has been, microseconds. */
const UNKNOWN_US = 1_000

export function shadowPlan(mesh: Mesh, before: Config, after: Config): ShadowPlan {
  return {
    services: mesh.services().flatMap((info) => {
      const measured = measuredOf(info)
      const [was, would] = [sideOf(info.name, before, measured), sideOf(info.name, after, measured)]
      if (was === undefined || would === undefined || JSON.stringify(was) === JSON.stringify(would)) return []
      return [{ service: info.name, before: was, after: would }]
    }),
  }
}

function measuredOf({ instances, latency }: ServiceInfo): (name: string) => number {
  const known = new Map(
    instances.map(({ metadata, address, latencyUs }) => [metadata[INSTANCE_FIELD] ?? address ?? '', latencyUs]),
  )
  return (name) => known.get(name) || latency.p50Us || UNKNOWN_US
}

/** A service of the mesh as a config has it; undefined when the config does not. */
function sideOf(name: string, config: Config, latencyOf: (name: string) => number): ShadowSide | undefined {
  const upstream = config.upstreams[name]
  if (upstream !== undefined) {
    const { instances, policy } = Array.isArray(upstream) ? { instances: upstream, policy: undefined } : upstream
    return {
      policy: mergePolicies(config.policy, policy),
      instances: instances.map(({ address, ...spec }) => ({
        ...withoutUndefined(spec),
        name: address,
        latencyUs: latencyOf(address),
      })),
    }
  }
  const [service, handler] = name.split('.', 2) as [string, string | undefined]
  const specs = instanceSpecs(config, '', new Map()).filter((spec) => spec.service === service)
  const [first] = specs
  if (first === undefined || handler === undefined) return undefined
  return {
    policy: first.handlerPolicies[handler] ?? first.policy,
    instances: specs.map(
      ({ id, tags }): ShadowInstance => ({ ...(tags ? { tags } : {}), name: id, latencyUs: latencyOf(id) }),
    ),
  }
}

function withoutUndefined<T extends object>(spec: T): { [Name in keyof T]: Exclude<T[Name], undefined> } {
  return Object.fromEntries(Object.entries(spec).filter(([, value]) => value !== undefined)) as never
}
