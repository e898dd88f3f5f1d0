/**
 * Circuit breaker of one instance: closed, open, half-open with leased probes; the rules of
 * `crates/routing/src/breaker.rs`. No timer: every state is worked out from the time of the call.
 */
import { Breaker } from '../../contract.js'
import { type BreakerPolicy, PROBE_PLACES } from './policy.js'
import { Window } from './window.js'

const COUNT_MAX = 2 ** 17 - 1
const OPENS_MAX = 31
/** Ends of open times are kept modulo this, milliseconds. */
const UNTIL = 2 ** 40
/** End of the open time of a breaker that was opened by hand: it does not end by itself. */
const BY_HAND = UNTIL - 1
/** Ends of leases are kept modulo this, microseconds: nine years. */
const LEASE = 2 ** 48

/** A leased probe place. The object proves that the lease is still ours: a place that was leased again holds another. */
export interface Probe {
  readonly place: number
  readonly untilUs: number
}

/** A change of state, for the event log. */
export interface Transition {
  readonly from: Breaker
  readonly to: Breaker
}

/** What the breaker says to a pick; `untilUs`: when a refusal ends by time alone. */
export type Verdict =
  | { readonly kind: 'admit' | 'probe' }
  | { readonly kind: 'open' | 'probe-taken'; readonly untilUs: number }

/** Closed: go on. */
const ADMIT: Verdict = { kind: 'admit' }
/** Half-open, or open with its time over, and a probe place is free. */
const PROBE: Verdict = { kind: 'probe' }

export class CircuitBreaker {
  #state: Breaker = Breaker.Closed
  /** Opens in a row. */
  #opens = 0
  /** Failures in a row, or good probes. */
  #count = 0
  #untilMs = 0
  readonly #places: (Probe | undefined)[] = Array.from({ length: PROBE_PLACES }, () => undefined)
  readonly #window = new Window()

  /** State as last written; an open one whose time is over still says open. */
  get state(): Breaker {
    return this.#state
  }

  /** Opens it until further notice, or closes it with nothing remembered. What it changed, if anything. */
  force(to: typeof Breaker.Open | typeof Breaker.Closed): Transition | undefined {
    const from = this.#state
    this.#state = to
    this.#opens = 0
    this.#count = 0
    this.#untilMs = to === Breaker.Open ? BY_HAND : 0
    this.#window.reset()
    // Probes that are under way decide nothing any more.
    this.#places.fill(undefined)
    return from === to ? undefined : { from, to }
  }

  /** Whether a pick may go to this instance now. Changes nothing. */
  verdict(policy: BreakerPolicy, nowUs: number): Verdict {
    if (this.#state === Breaker.Closed || !policy.enabled) return ADMIT
    if (this.#state === Breaker.Open)
      return this.#isOver(policy, nowUs) ? PROBE : { kind: 'open', untilUs: this.#untilMs * 1_000 }
    let first = Number.POSITIVE_INFINITY
    for (let place = 0; place < policy.concurrentProbes; place++) {
      const held = this.#places[place]
      if (held === undefined || isOver(held, policy, nowUs)) return PROBE
      first = Math.min(first, held.untilUs)
    }
    return { kind: 'probe-taken', untilUs: first }
  }

  /** After the verdict `probe`: takes a place, moving open to half-open first. At most `concurrentProbes` are held. */
  leaseProbe(policy: BreakerPolicy, nowUs: number): { probe: Probe | undefined; transition: Transition | undefined } {
    const none = { probe: undefined, transition: undefined }
    if (this.#state === Breaker.Closed) return none
    let transition: Transition | undefined
    if (this.#state === Breaker.Open) {
      if (!this.#isOver(policy, nowUs)) return none
      this.#state = Breaker.HalfOpen
      this.#count = 0
      transition = { from: Breaker.Open, to: Breaker.HalfOpen }
    }
    const untilUs = Math.max((nowUs + policy.probeLeaseMs * 1_000) % LEASE, 1)
    for (let place = 0; place < policy.concurrentProbes; place++) {
      const held = this.#places[place]
      if (held !== undefined && !isOver(held, policy, nowUs)) continue
      const probe = { place, untilUs }
      this.#places[place] = probe
      return { probe, transition }
    }
    return { probe: undefined, transition }
  }

  /** Gives a place back. False when the lease was over and somebody else holds it, or the breaker opened again. */
  releaseProbe(probe: Probe): boolean {
    if (this.#places[probe.place] !== probe) return false
    this.#places[probe.place] = undefined
    return true
  }

  /** Learns that a request ended well or badly. `probe` is the lease it was picked with. */
  record(policy: BreakerPolicy, ok: boolean, probe: Probe | undefined, nowUs: number): Transition | undefined {
    if (!policy.enabled) return undefined
    if (probe !== undefined) return this.#recordProbe(policy, ok, probe, nowUs)
    if (this.#state !== Breaker.Closed) return undefined
    this.#window.record(policy.windowMs, ok, nowUs)
    if (ok) {
      this.#count = 0
      return undefined
    }
    const failures = Math.min(this.#count + 1, COUNT_MAX)
    const run = policy.consecutiveFailures !== 0 && failures >= policy.consecutiveFailures
    if (!run && !this.#window.isBad(policy, nowUs)) {
      this.#count = failures
      return undefined
    }
    this.#opens = 0
    this.#open(policy, nowUs)
    return { from: Breaker.Closed, to: Breaker.Open }
  }

  #recordProbe(policy: BreakerPolicy, ok: boolean, probe: Probe, nowUs: number): Transition | undefined {
    // Whoever gives the place back is the one whose result counts: once per probe.
    if (!this.releaseProbe(probe) || this.#state !== Breaker.HalfOpen) return undefined
    if (!ok) {
      this.#open(policy, nowUs)
    } else if (this.#count + 1 >= policy.probes) {
      this.#state = Breaker.Closed
      this.#opens = 0
      this.#count = 0
      this.#untilMs = 0
      // The failures that opened it are history.
      this.#window.reset()
    } else {
      this.#count += 1
      return undefined
    }
    // Leases of this half-open period prove nothing in the next one.
    this.#places.fill(undefined)
    return { from: Breaker.HalfOpen, to: this.#state }
  }

  /** Open from now on, for twice as long as the last time in a row. */
  #open(policy: BreakerPolicy, nowUs: number): void {
    const openMs = Math.min(policy.openMs * 2 ** this.#opens, policy.maxOpenMs)
    this.#untilMs = (Math.ceil(nowUs / 1_000) + openMs) % UNTIL
    this.#state = Breaker.Open
    this.#opens = Math.min(this.#opens + 1, OPENS_MAX)
    this.#count = 0
  }

  /** Whether the open time is over: also when it lasts for longer than was ever meant, because the clock stepped back. */
  #isOver(policy: BreakerPolicy, nowUs: number): boolean {
    if (this.#untilMs === BY_HAND) return false
    const nowMs = Math.floor(nowUs / 1_000)
    return nowMs >= this.#untilMs || this.#untilMs - nowMs > policy.maxOpenMs + 1
  }
}

/** A lease is free when it is over, or longer than leases are (the clock stepped back). */
function isOver(held: Probe, policy: BreakerPolicy, nowUs: number): boolean {
  return held.untilUs <= nowUs || held.untilUs - nowUs > policy.probeLeaseMs * 1_000
}
