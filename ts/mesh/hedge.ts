/**
 * Hedging of one request: when its instance is slower than 95 of 100 were, a second one is asked, if the budget allows it.
 * The first answer wins, and the other handler's signal fires.
 *
 * Only for requests that may be repeated, of the classes `low-latency` and `critical`, and without a key, of
 * routing or of idempotency. An error of the first instance, when it is not retried, ends the hedge, too;
 * one of the second is forgotten.
 */
import { type Handle, Scratch } from '../binding/contract.js'
import { CancelledError } from '../errors.js'
import { Call } from './call.js'
import { nowMs } from './clock.js'
import type { Dispatcher } from './dispatcher.js'

export class Hedge {
  readonly #dispatcher: Dispatcher
  readonly #call: Call
  readonly #startMs = nowMs()
  readonly #timer: NodeJS.Timeout
  /** The same request at the second instance. */
  #twin: Call | undefined = undefined

  constructor(dispatcher: Dispatcher, call: Call, afterMs: number) {
    this.#dispatcher = dispatcher
    this.#call = call
    this.#timer = setTimeout(() => this.#ask(), afterMs)
    // The request itself keeps the process alive.
    this.#timer.unref()
  }

  /** The call, or its twin, has its answer. */
  ended(call: Call): void {
    if (call !== this.#call) return
    clearTimeout(this.#timer)
    const twin = this.#twin
    if (twin === undefined || twin.settled) return
    this.#dispatcher.overtaken(twin, new CancelledError('another instance answered first'), -1)
    // Nobody hears of it: that is what a hedge that lost is.
    twin.reject(undefined)
  }

  #ask(): void {
    const call = this.#call
    const { core } = this.#dispatcher
    if (call.settled || call.ticket === 0 || core.closed) return
    const ticket = core.binding.hedge(core.handle, call.service.handle, call.instance, call.qos)
    if (ticket <= 0) return
    const twin = new Call(this.#dispatcher, call.service, call.body, false)
    twin.metadata = call.metadata
    twin.qos = call.qos
    twin.timeoutMs = call.timeoutMs
    twin.deadline = call.deadline
    twin.retries = 0
    // It makes no dead letter: whether the request failed is told by the call.
    twin.redriven = true
    twin.hedge = this
    this.#twin = twin
    call.span?.hedged?.(false)
    twin.promise.then(
      (value) => this.#won(twin, value),
      () => undefined,
    )
    const { scratch } = core
    this.#dispatcher.outstanding++
    this.#dispatcher.deliver(twin, ticket, scratch[Scratch.Instance] as number, scratch[Scratch.Thread] as number)
  }

  #won(twin: Call, value: unknown): void {
    const call = this.#call
    if (call.settled) return
    // Not what became of the first instance, but that it was slower than this is known, and is told the router.
    const elapsedUs = Math.round((nowMs() - this.#startMs) * 1_000)
    call.span?.hedged?.(true)
    this.#dispatcher.hedges.count(call.service.name)
    this.#dispatcher.overtaken(call, new CancelledError(`instance ${twin.instance} answered first`), elapsedUs)
    call.resolve(value)
  }
}

/** The hedging of one thread's requests. */
export class Hedges {
  readonly #dispatcher: Dispatcher
  /** Counters of hedges that won, by service. */
  readonly #won = new Map<string, Handle>()

  constructor(dispatcher: Dispatcher) {
    this.#dispatcher = dispatcher
  }

  /** Watches a call that is about to be delivered, if it may be hedged. */
  watch(call: Call): void {
    if (!call.idempotent || call.stream || call.slotOnly || call.hedge !== undefined) return
    // A second instance would break the order of a key, and join the first one for an idempotency key.
    if (call.keyHash !== 0 || call.guarantees !== undefined) return
    const { core } = this.#dispatcher
    const afterUs = core.binding.hedgeAfter(core.handle, call.service.handle, call.qos)
    // Timers of the runtime are in whole milliseconds.
    if (afterUs > 0) call.hedge = new Hedge(this.#dispatcher, call, Math.max(1, Math.ceil(afterUs / 1_000)))
  }

  /** A hedge won. */
  count(service: string): void {
    const { binding, handle } = this.#dispatcher.core
    let counter = this.#won.get(service)
    if (counter === undefined) {
      const help = 'Requests whose second instance answered first.'
      counter = binding.metricOpen(handle, 0, 'linkmesh_hedges_won_total', JSON.stringify({ service }), help)
      if (counter < 0) return
      this.#won.set(service, counter)
    }
    binding.metricRecord(handle, counter, 1)
  }
}
