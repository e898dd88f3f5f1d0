/** From a service's name to its handle, without a crossing while nothing has changed. */
import { type ServiceInfo, Status } from '../binding/contract.js'
import { errorOf, LinkmeshError } from '../errors.js'
import type { ServiceEntry } from './call.js'
import { checkName } from './checks.js'
import { nowMs } from './clock.js'
import type { Core } from './core.js'

/** How old the cached part of a service (policy, idempotence) may be after a change made by another thread. */
const STALE_MS = 100
/** As many as there can be services. */
const MAX_KNOWN = 131_072
/** Set on instances whose service is idempotent, so that callers in other threads know. */
export const IDEMPOTENT_KEY = 'linkmesh.idempotent'

export class ServiceNames {
  readonly #core: Core
  /** At most {@link MAX_KNOWN}: services that were removed since would stay otherwise. */
  readonly #entries = new Map<string, ServiceEntry>()

  constructor(core: Core) {
    this.#core = core
  }

  /** Throws `LM_NOT_FOUND` when nobody has defined the service. */
  get(name: string): ServiceEntry {
    const entry = this.#entries.get(name)
    if (entry !== undefined && entry.epoch === this.#core.epoch) return entry
    return this.#read(name, entry)
  }

  forget(name: string): void {
    this.#entries.delete(name)
  }

  #read(name: string, known: ServiceEntry | undefined): ServiceEntry {
    checkName(name, 'service')
    const core = this.#core
    const { binding, handle: mesh } = core
    // Before the reads: a change in between makes the entry stale again.
    const epoch = core.epoch
    const handle = binding.serviceFind(mesh, name)
    if (handle < 0) {
      this.#entries.delete(name)
      if (core.closed || handle === Status.Closed) throw errorOf('LM_CLOSED', `mesh ${core.name} is closed`)
      if (handle !== Status.NotFound && handle !== Status.NoMatch)
        throw core.error(handle, `service ${JSON.stringify(name)}`)
      throw new LinkmeshError('LM_NOT_FOUND', `no service named ${JSON.stringify(name)} in mesh ${core.name}`, {
        field: 'service',
      })
    }
    const now = nowMs()
    // Reading all instances is dear where they come and go all the time.
    if (known !== undefined && known.handle === handle && now - known.readAtMs < STALE_MS) return known
    const text = binding.serviceInfo(mesh, handle)
    if (text === '') throw core.error(Status.StaleHandle, `service ${JSON.stringify(name)}`)
    const { policy, instances } = JSON.parse(text) as ServiceInfo
    const entry: ServiceEntry = {
      name,
      handle,
      timeoutMs: policy.timeoutMs,
      // Who may not wait need not ask.
      queueLimit: policy.backpressure === 'reject' ? 0 : policy.queueLimit,
      qosClass: policy.qos.class ?? 'best-effort',
      hedges: policy.hedge.enabled === true,
      ordered: policy.ordering === 'key',
      idempotent: instances.length > 0 && instances.every((instance) => instance.metadata[IDEMPOTENT_KEY] === 'true'),
      epoch,
      readAtMs: now,
    }
    if (this.#entries.size >= MAX_KNOWN) this.#entries.clear()
    this.#entries.set(name, entry)
    return entry
  }
}
