/** Requests that wait for a free slot of their service. The router queues; this side remembers who asked. */
import { Outcome, Status } from '../binding/contract.js'
import type { Call } from './call.js'
import { nowMs } from './clock.js'
import type { Core } from './core.js'
import type { Dispatcher } from './dispatcher.js'
import { refusalOf } from './outcomes.js'

/** Longest wait that is asked of the router at once; a request with more time asks again. */
const LONGEST_WAIT_MS = 60_000
/** A wait that the router ended so close to the request's own deadline is not asked for again. */
const SLACK_MS = 10
/** Grants read by one call. */
const BATCH = 64

export class Waits {
  readonly #core: Core
  readonly #dispatcher: Dispatcher
  readonly #calls = new Map<number, Call>()
  readonly #grants = new Float64Array(4 * BATCH)
  /** What waits for something else than a place: a turn, a first request. */
  readonly #parked = new Map<number, (note: number) => void>()
  #soon = false

  constructor(core: Core, dispatcher: Dispatcher) {
    this.#core = core
    this.#dispatcher = dispatcher
  }

  get size(): number {
    return this.#calls.size + this.#parked.size
  }

  /** Calls `go` once the grant with this id and ticket 0 is there. */
  park(id: number, go: (note: number) => void): void {
    this.#parked.set(id, go)
  }

  /** Nobody waits any more: the grant, if it comes, finds nobody. */
  unpark(id: number): void {
    this.#parked.delete(id)
  }

  /** Queues the call; 0, or why not. */
  add(call: Call): Status | 0 {
    const { binding, handle, deadlines } = this.#core
    const remainingMs = Math.min(LONGEST_WAIT_MS, Math.max(1, Math.ceil(call.deadline - nowMs())))
    const id = binding.wait(handle, call.service.handle, call.keyHash, remainingMs, call.qos)
    if (id < 0) return id as Status
    call.waitId = id
    this.#calls.set(id, call)
    deadlines.add(call)
    // A slot may have become free between the refusal and the wait.
    this.takeSoon()
    return 0
  }

  /** The caller left. A grant that is already under way finds nobody and goes back. */
  remove(call: Call): void {
    this.#core.binding.waitCancel(this.#core.handle, call.waitId)
    this.#calls.delete(call.waitId)
    call.waitId = 0
  }

  /** At the end of this turn: slots freed by this very thread need no wake. */
  takeSoon(): void {
    if (this.#soon) return
    this.#soon = true
    queueMicrotask(() => {
      this.#soon = false
      if (!this.#core.closed) this.take()
    })
  }

  /** Hands out the slots that were granted to this thread. */
  take(): void {
    const out = this.#grants
    for (;;) {
      const count = this.#core.binding.grants(this.#core.handle, out)
      if (count <= 0) return
      // The queue is shorter than it was: it may have passed its low watermark.
      this.#dispatcher.onChange?.()
      // Copied first: a handler that runs now may itself wait and be granted.
      const batch = out.slice(0, count * 4)
      for (let at = 0; at < batch.length; at += 4) {
        this.#granted(batch[at] as number, batch[at + 1] as number, batch[at + 2] as number, batch[at + 3] as number)
      }
      if (count < BATCH) return
    }
  }

  /** `third`: the instance, or when to come back for a refused one. */
  #granted(id: number, ticket: number, third: number, thread: number): void {
    if (ticket === 0) {
      const go = this.#parked.get(id)
      this.#parked.delete(id)
      go?.(third)
      return
    }
    const call = this.#calls.get(id)
    this.#calls.delete(id)
    if (call === undefined || call.settled) {
      if (ticket > 0) this.#core.complete(ticket, Outcome.Cancelled, -1)
      return
    }
    call.waitId = 0
    if (ticket > 0) this.#dispatcher.deliver(call, ticket, third, thread)
    else if (ticket === Status.DeadlineExceeded && call.deadline - nowMs() > SLACK_MS) this.#dispatcher.attempt(call)
    else this.#dispatcher.fail(call, refusalOf(this.#core, call.service.name, ticket, third))
  }
}
