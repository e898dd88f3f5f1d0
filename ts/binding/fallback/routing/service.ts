/** What a service carries from one membership to the next, as `crates/routing/src/service.rs`. */
import type { QosClass } from '../../contract.js'
import { Histogram } from '../metrics-histogram.js'
import { Budget } from './budget.js'
import { Estimate } from './estimate.js'
import type { RetryPolicy } from './policy.js'
import { classWord, RANKS, type Rank } from './qos.js'
import type { Shares } from './tiers.js'

/** Latency that is assumed as long as nothing was measured, microseconds. */
const ASSUMED_LATENCY_US = 30_000

/** What a service knows about hedging. */
interface Hedging {
  readonly budget: Budget
  /** How long to wait for the first answer, microseconds; undefined: not known yet. */
  afterUs: number | undefined
  /** When it was worked out, microseconds. */
  lookedUs: number | undefined
  /** The latencies up to the beginning of the window, and when that was, microseconds. */
  before: Histogram
  beforeUs: number
}

/** Counters and estimates of one service; lives as long as the service. */
export class ServiceState {
  /** Position of round robin and weighted; every position looked at is consumed. */
  cursor = 0
  /** Requests picked, retries included. */
  picks = 0
  /** See `tiers.ts`. */
  shares: Shares | undefined
  readonly budget: Budget
  readonly hedging: Hedging
  /** The queue has passed its high mark and not yet its low one. */
  pressed = false
  /** Requests that were refused for want of room, by number of their class. */
  readonly #shed: number[] = [0, 0, 0, 0, 0, 0]
  /** Mean latency of its good answers, microseconds: what an unmeasured instance is taken for. */
  readonly latency = new Estimate()
  /** `adaptive` only: latency of its latest good answers, microseconds. */
  readonly recent = new Estimate()
  /** Latencies of completed requests, cancelled ones excepted, microseconds. */
  readonly latencies = new Histogram()

  constructor(retry: RetryPolicy, nowUs: number) {
    this.budget = new Budget(retry, nowUs)
    const budget = new Budget({ budget: 0, minPerSecond: 0 }, 0)
    this.hedging = { budget, afterUs: undefined, lookedUs: undefined, before: new Histogram(), beforeUs: 0 }
  }

  /** Mean latency, or what is assumed before there is one, microseconds. */
  get typicalLatencyUs(): number {
    return this.latency.stored === 0 ? ASSUMED_LATENCY_US : this.latency.stored
  }

  /** `adaptive`: latency of its latest good answers, or what is assumed before there is one, microseconds. */
  get recentLatencyUs(): number {
    return this.recent.stored === 0 ? this.typicalLatencyUs : this.recent.stored
  }

  /** A request of this class was refused for want of room. */
  countShed(rank: Rank): void {
    this.#shed[rank] = this.shedOf(rank) + 1
  }

  shedOf(rank: Rank): number {
    return this.#shed[rank] as number
  }

  /** By class; classes of which none was are left out. */
  get shed(): Partial<Record<QosClass, number>> {
    const counts = RANKS.map((rank) => [classWord(rank), this.shedOf(rank)] as const)
    return Object.fromEntries(counts.filter(([, count]) => count > 0))
  }

  /** Thousandths of retry tokens there are. */
  retryTokens(retry: RetryPolicy, nowUs: number): number {
    return this.budget.peek(retry, this.picks, nowUs)
  }
}
