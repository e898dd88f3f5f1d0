/**
 * Routing for your own transport: pick an instance, talk to it as you like, say how it went.
 *
 * Balancer, breaker, limits and statistics are the same as for `mesh.request()`. A ticket that is never completed is
 * closed as unknown after the policy's `ticketLeaseMs`.
 */
import {
  type Explanation,
  type Handle,
  type InstanceInfo,
  Outcome,
  Qos,
  type QosClass,
  Scratch,
  Status,
  type Ticket,
} from '../binding/contract.js'
import { errorOf, LinkmeshError } from '../errors.js'
import { checkInteger, checkKey, checkNumber, checkSignal, checkTimeout, invalid, shown } from './checks.js'
import type { Core } from './core.js'
import { COMPLETE, PICK, publishComplete, publishPick } from './diagnostics.js'
import type { Dispatcher } from './dispatcher.js'
import { OpenTickets } from './open-tickets.js'
import { refusalOf } from './outcomes.js'
import { checkQos } from './qos.js'

export interface WaitOptions {
  key?: string
  /** Class of service; default the service's. */
  qos?: QosClass
  /** How long to wait for a free instance; default the service's `timeoutMs`. */
  timeoutMs?: number
  signal?: AbortSignal
}

export interface PickOptions {
  /** Class of service; default the service's. */
  qos?: QosClass
}

export interface CompleteOptions {
  /**
   * With `Outcome.Rejected`: for how long the instance wants to be left alone, milliseconds (`Retry-After`). It is not
   * picked before, for at most five minutes and at least the policy's `rejectedMs`.
   */
  retryAfterMs?: number
}

export class Route {
  readonly service: string
  readonly #core: Core
  readonly #dispatcher: Dispatcher
  readonly #open = new OpenTickets()
  readonly #known = new Map<Handle, { info: InstanceInfo; epoch: number }>()

  /** @internal */
  constructor(core: Core, dispatcher: Dispatcher, service: string) {
    this.#core = core
    this.#dispatcher = dispatcher
    this.service = service
    dispatcher.service(service)
  }

  /**
   * Picks an instance. Throws `NoInstanceError` or `SaturatedError` with `retryAfterMs`; {@link wait} queues instead.
   * @param key requests of one key go to one instance while it is eligible
   */
  pick(key?: string, options?: PickOptions): Ticket {
    const ticket = this.#pick(this.#hash(key), key, this.#qos(options))
    if (ticket > 0) return ticket
    throw refusalOf(this.#core, this.service, ticket)
  }

  /** The instance behind an open ticket. */
  instance(ticket: Ticket): InstanceInfo {
    const instance = this.#open.instance(ticket)
    if (instance === 0) {
      throw errorOf('LM_STALE_TICKET', `${shown(ticket)} is no open ticket of ${this.service}`, { field: 'ticket' })
    }
    const known = this.#known.get(instance)
    if (known !== undefined && known.epoch === this.#core.epoch) return known.info
    const epoch = this.#core.epoch
    const text = this.#core.binding.instanceInfo(this.#core.handle, instance)
    if (text === '') {
      if (known !== undefined) return known.info
      throw this.#core.error(Status.StaleHandle, `an instance of ${this.service}`)
    }
    const info = JSON.parse(text) as InstanceInfo
    // Instances come and go; what is known of those that went is dropped now and then.
    if (this.#known.size >= 1_024) this.#known.clear()
    this.#known.set(instance, { info, epoch })
    return info
  }

  /**
   * Says how it went. The breaker, the load estimates and the counters learn from it.
   * @param latencyUs microseconds; by default the time since the pick
   */
  complete(ticket: Ticket, outcome: Outcome, latencyUs = -1, options?: CompleteOptions): void {
    if (!(Number.isInteger(outcome) && outcome >= Outcome.Ok && outcome <= Outcome.Unknown)) throw noOutcome(outcome)
    if (typeof latencyUs !== 'number' || !Number.isFinite(latencyUs)) throw noLatency(latencyUs)
    const core = this.#core
    const status =
      options === undefined
        ? core.complete(ticket, outcome, latencyUs)
        : this.#rejected(ticket, outcome, latencyUs, checkRetryAfter(options, outcome))
    const instance = this.#open.remove(ticket)
    if (outcome !== Outcome.Ok) this.#dispatcher.onChange?.()
    if (this.#dispatcher.waits.size > 0) this.#dispatcher.waits.takeSoon()
    if (status !== 0) throw this.#notOpen(ticket, status)
    if (COMPLETE.hasSubscribers) {
      publishComplete({ service: this.service, ticket, instance, attempt: 0 }, outcome)
    }
  }

  #rejected(ticket: Ticket, outcome: Outcome, latencyUs: number, retryAfterMs: number): number {
    return retryAfterMs > 0
      ? this.#core.completeRejected(ticket, latencyUs, retryAfterMs)
      : this.#core.complete(ticket, outcome, latencyUs)
  }

  #notOpen(ticket: Ticket, status: number): LinkmeshError {
    return errorOf(
      status === Status.Closed || this.#core.closed ? 'LM_CLOSED' : 'LM_STALE_TICKET',
      `ticket ${shown(ticket)} was completed before, or its lease ran out`,
      { field: 'ticket' },
    )
  }

  /** Like {@link pick}, but waits for a slot when every instance is at its limit. */
  async wait(options: WaitOptions = {}): Promise<Ticket> {
    const keyHash = this.#hash(options.key)
    const service = this.#dispatcher.service(this.service)
    const timeoutMs = options.timeoutMs === undefined ? service.timeoutMs : checkTimeout(options.timeoutMs, 'timeoutMs')
    const signal = options.signal === undefined ? undefined : checkSignal(options.signal)
    const qos = this.#qos(options)
    const ticket = this.#pick(keyHash, options.key, qos)
    if (ticket > 0) return ticket
    if (ticket !== Status.Saturated) throw refusalOf(this.#core, this.service, ticket)
    const granted = await this.#dispatcher.waitForSlot(service, keyHash, timeoutMs, signal, qos)
    this.#open.add(granted.ticket, granted.instance)
    return granted.ticket
  }

  /**
   * Takes one token of the service's retry budget.
   *
   * @param attempt 1 for the first retry
   * @returns how long to wait before it, milliseconds, with jitter; -1 when the budget or `retry.limit` does not allow it
   */
  retry(attempt: number): number {
    const service = this.#dispatcher.service(this.service)
    return this.#core.binding.retry(this.#core.handle, service.handle, checkInteger(attempt, 'attempt', 1, 1_000))
  }

  /** Why the ticket's instance was picked, as things were then; undefined when that is no longer recorded. */
  explain(ticket: Ticket): Explanation | undefined {
    const text = this.#core.binding.explain(this.#core.handle, ticket)
    return text === '' ? undefined : (JSON.parse(text) as Explanation)
  }

  #hash(key: string | undefined): number {
    return key === undefined ? 0 : this.#core.binding.hashKey(checkKey(key))
  }

  #qos(options: PickOptions | undefined): Qos {
    return options?.qos === undefined ? Qos.Default : checkQos(options.qos, 'qos')
  }

  #pick(keyHash: number, key: string | undefined, qos: Qos): Ticket {
    if (this.#core.closed) throw new LinkmeshError('LM_CLOSED', `mesh ${this.#core.name} is closed`)
    const core = this.#core
    let ticket = core.pick(this.#dispatcher.service(this.service).handle, keyHash, qos)
    if (ticket === Status.StaleHandle) {
      this.#dispatcher.forget(this.service)
      ticket = core.pick(this.#dispatcher.service(this.service).handle, keyHash, qos)
    }
    if (ticket > 0) {
      const instance = core.scratch[Scratch.Instance] as number
      this.#open.add(ticket, instance)
      if (PICK.hasSubscribers) {
        const thread = core.scratch[Scratch.Thread] as number
        publishPick({ service: this.service, ticket, instance, thread, attempt: 0, key })
      }
    }
    return ticket
  }
}

function checkRetryAfter(options: CompleteOptions, outcome: Outcome): number {
  const { retryAfterMs } = options
  if (retryAfterMs === undefined) return 0
  checkNumber(retryAfterMs, 'retryAfterMs', 0, Number.MAX_SAFE_INTEGER)
  if (outcome !== Outcome.Rejected)
    throw invalid('retryAfterMs', 'retryAfterMs is what an instance says with Outcome.Rejected, and with no other')
  return retryAfterMs
}

// Apart from the hot function, which is small enough to become part of its callers without them.
function noOutcome(outcome: unknown): LinkmeshError {
  return invalid('outcome', `outcome must be one of Outcome, not ${shown(outcome)}`, Outcome.Unknown)
}

function noLatency(latencyUs: unknown): LinkmeshError {
  return invalid('latencyUs', `latencyUs must be a finite number of microseconds, not ${shown(latencyUs)}`)
}
