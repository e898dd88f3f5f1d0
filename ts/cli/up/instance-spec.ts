/** The instances a config asks for, and the thread each one lives in. */
import { resolve } from 'node:path'
import type { Policy } from '../../binding/contract.js'
import { type Config, mergePolicies } from '../../config/schema.js'
import type { Mesh } from '../../index.js'

/** Everything an instance needs to be served, as plain data: it is sent to a worker thread. */
export interface InstanceSpec {
  /** `catalog-1` */
  id: string
  service: string
  /** Absolute path of the service module. */
  module: string
  /** What is imported for it: the module itself, or what it was compiled to. */
  compiled: string
  version?: string
  tags?: string[]
  /** Policy of the handlers that have none of their own, and of those that have. */
  policy: Policy
  handlerPolicies: Record<string, Policy>
}

/** All instances of the services, in the order of the config. `compiled`: what is imported for a module, by its path. */
export function instanceSpecs(config: Config, folder: string, compiled: ReadonlyMap<string, string>): InstanceSpec[] {
  return Object.entries(config.services).flatMap(([service, options]) => {
    const policy = mergePolicies(config.policy, options.policy)
    const handlerPolicies = Object.fromEntries(
      Object.entries(options.handlers ?? {}).map(([name, handler]) => [name, mergePolicies(policy, handler.policy)]),
    )
    const module = resolve(folder, options.module)
    return Array.from({ length: options.instances }, (_, index) => ({
      id: `${service}-${index + 1}`,
      service,
      module,
      compiled: compiled.get(module) ?? module,
      ...(options.version === undefined ? {} : { version: options.version }),
      ...(options.tags === undefined ? {} : { tags: options.tags }),
      policy,
      handlerPolicies,
    }))
  })
}

/** Gives each service of the mesh, `orders.get`, the policy that these instances have. */
export function definePolicies(mesh: Mesh, specs: readonly InstanceSpec[]): void {
  for (const { name } of mesh.services()) {
    const [service, handler] = name.split('.', 2) as [string, string | undefined]
    const spec = specs.find((one) => one.service === service)
    if (spec !== undefined && handler !== undefined) mesh.define(name, spec.handlerPolicies[handler] ?? spec.policy)
  }
}

/** The files a config imports. Compiled together, so that what they share stays one. */
export function modulesOf(config: Config, folder: string, withLoad: boolean): string[] {
  const modules = Object.values(config.services).map(({ module }) => module)
  if (withLoad && config.load) modules.push(config.load.module)
  return modules.map((module) => resolve(folder, module))
}

/** Instances per thread: one each, or dealt out in turn over `workers` threads, so that copies of a service lie apart. */
export function dealOut(specs: readonly InstanceSpec[], workers: number | undefined): InstanceSpec[][] {
  const threads: InstanceSpec[][] = Array.from({ length: Math.min(workers ?? specs.length, specs.length) }, () => [])
  for (const [index, spec] of specs.entries()) threads[index % threads.length]?.push(spec)
  return threads
}
