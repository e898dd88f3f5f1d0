/** Serves one instance of a service module in this thread: the worker threads' and the fallback's common part. */
import { setTimeout as delay } from 'node:timers/promises'
import { importModule } from '../../config/import-module.js'
import { type ModuleHandler, readServiceModule } from '../../config/service-module.js'
import type { Handler, Mesh, Registration } from '../../index.js'
import type { InstanceSpec } from './instance-spec.js'

/** Metadata field that tells which instance of the config a registration is. */
export const INSTANCE_FIELD = 'instance'

/** What is wrong with an instance on purpose, to watch the router go round it. */
export type Fault = 'slow' | 'failing'

/** How much longer the handlers of a slow instance take, milliseconds. */
const SLOW_MS = 100

export interface ServedInstance {
  readonly id: string
  /** `slow`: every handler takes 100 ms longer. `failing`: it throws. */
  fault: Fault | undefined
  /** Another version, other tags. Without a version it keeps the one it has. */
  describe(version: string | undefined, tags: readonly string[]): void
  /** Takes nothing new and leaves the registry when what was taken is answered. */
  leave(): Promise<void>
  /** Leaves the registry. */
  close(): void
}

/** Loads the module of an instance. Throws `LM_CONFIG` when it is no service module. */
export async function loadHandlers(spec: InstanceSpec): Promise<ModuleHandler[]> {
  return readServiceModule(await importModule(spec.compiled), spec.module)
}

/** Registers all handlers of an instance at once. */
export function serveInstance(mesh: Mesh, spec: InstanceSpec, handlers: readonly ModuleHandler[]): ServedInstance {
  const served: ServedInstance = {
    id: spec.id,
    fault: undefined,
    describe(version, tags) {
      const patch = { ...(version === undefined ? {} : { version }), tags: [...tags] }
      for (const registration of registrations) registration.update(patch)
    },
    async leave() {
      // One that still has requests when its time is up leaves all the same; they can still be answered.
      await Promise.allSettled(registrations.map((registration) => registration.drain()))
      served.close()
    },
    close() {
      for (const registration of registrations) registration.close()
    },
  }
  const registrations: Registration[] = handlers.map(({ name, handler, idempotent }) =>
    mesh.service(`${spec.service}.${name}`, breakable(handler, served), {
      idempotent,
      policy: spec.handlerPolicies[name] ?? spec.policy,
      metadata: { [INSTANCE_FIELD]: spec.id },
      ...(spec.version === undefined ? {} : { version: spec.version }),
      ...(spec.tags === undefined ? {} : { tags: spec.tags }),
    }),
  )
  return served
}

function breakable(handler: Handler, served: ServedInstance): Handler {
  return (body, ctx) => {
    if (served.fault === undefined) return handler(body, ctx)
    if (served.fault === 'failing') throw new Error(`${served.id} fails on purpose`)
    return delay(SLOW_MS).then(() => handler(body, ctx))
  }
}
