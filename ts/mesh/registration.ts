/** A registered instance: a handler of this thread, or an address that somebody else's transport reaches. */
import type { Handle, InstanceInfo, InstanceSpec } from '../binding/contract.js'
import { TimeoutError } from '../errors.js'
import { checkRecord, checkTimeout } from './checks.js'
import { nowMs } from './clock.js'
import type { Core } from './core.js'
import type { Dispatcher, LocalInstance } from './dispatcher.js'

/** How often a drain looks at the instance's load. */
const DRAIN_LOOK_MS = 5

/** What may change while an instance lives. */
export interface InstancePatch extends Partial<Omit<InstanceSpec, 'address'>> {
  health?: InstanceInfo['health']
}

export class Registration {
  readonly handle: Handle
  readonly service: string
  readonly #core: Core
  readonly #dispatcher: Dispatcher
  readonly #local: LocalInstance | undefined
  readonly #onClose: (registration: Registration) => void
  #closed = false

  /** @internal */
  constructor(
    core: Core,
    dispatcher: Dispatcher,
    handle: Handle,
    service: string,
    local: LocalInstance | undefined,
    onClose: (registration: Registration) => void,
  ) {
    this.#core = core
    this.#dispatcher = dispatcher
    this.handle = handle
    this.service = service
    this.#local = local
    this.#onClose = onClose
  }

  /** Requests that are with this instance now. */
  get inFlight(): number {
    return this.#core.inFlight(this.handle)
  }

  /** True for a handler of this thread. */
  get isLocal(): boolean {
    return this.#local !== undefined
  }

  info(): InstanceInfo {
    const text = this.#core.binding.instanceInfo(this.#core.handle, this.handle)
    if (text === '') throw this.#core.error(-2, `an instance of ${this.service}`)
    return JSON.parse(text) as InstanceInfo
  }

  /** Changes weight, tags, metadata, health, … */
  update(patch: InstancePatch): void {
    checkRecord(patch, 'patch')
    this.#core.must(
      this.#core.binding.instanceUpdate(this.#core.handle, this.handle, JSON.stringify(patch)),
      `an instance of ${this.service}`,
    )
    this.#dispatcher.forget(this.service)
  }

  /** Extends the lease: the instance lives for `leaseMs` more. */
  renew(leaseMs: number): void {
    this.#core.must(
      this.#core.binding.instanceRenew(this.#core.handle, this.handle, checkTimeout(leaseMs, 'leaseMs')),
      `an instance of ${this.service}`,
    )
  }

  /**
   * Takes no new requests, and resolves when those under way are done. Rejects with `LM_DEADLINE_EXCEEDED` after
   * `graceMs` (default 5,000); the instance then stays draining.
   */
  async drain(options: { graceMs?: number } = {}): Promise<void> {
    if (this.#closed || this.#core.closed) return
    checkRecord(options, 'options')
    const graceMs = options.graceMs === undefined ? 5_000 : checkTimeout(options.graceMs, 'graceMs')
    this.update({ health: 'draining' })
    const until = nowMs() + graceMs
    while (!this.#core.closed && (this.inFlight > 0 || (this.#local?.active ?? 0) > 0)) {
      if (nowMs() >= until)
        throw new TimeoutError(`an instance of ${this.service} still has ${this.inFlight} requests after ${graceMs} ms`)
      await new Promise((resolve) => setTimeout(resolve, DRAIN_LOOK_MS))
    }
  }

  /** Leaves the registry at once. Requests under way finish; new ones go elsewhere. Does nothing the second time. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    // Out of the registry first, so that nobody picks a handler that is gone.
    if (!this.#core.closed) this.#core.binding.instanceRemove(this.#core.handle, this.handle)
    if (this.#local !== undefined) this.#dispatcher.removeLocal(this.#local)
    this.#dispatcher.forget(this.service)
    this.#onClose(this)
  }
}
