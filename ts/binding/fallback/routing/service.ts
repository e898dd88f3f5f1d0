/** What a service carries from one membership to the next, as `crates/routing/src/service.rs`. */
import { Histogram } from '../metrics-histogram.js'
import { RetryBudget } from './budget.js'
import { Estimate } from './estimate.js'
import type { RetryPolicy } from './policy.js'
import type { Shares } from './tiers.js'

/** Latency that is assumed as long as nothing was measured, microseconds. */
const ASSUMED_LATENCY_US = 30_000

/** Counters and estimates of one service; lives as long as the service. */
export class ServiceState {
  /** Position of round robin and weighted; every position looked at is consumed. */
  cursor = 0
  /** Requests picked, retries included. */
  picks = 0
  /** See `tiers.ts`. */
  shares: Shares | undefined
  readonly budget: RetryBudget
  /** Mean latency of its good answers, microseconds: what an unmeasured instance is taken for. */
  readonly latency = new Estimate()
  /** `adaptive` only: latency of its latest good answers, microseconds. */
  readonly recent = new Estimate()
  /** Latencies of completed requests, cancelled ones excepted, microseconds. */
  readonly latencies = new Histogram()

  constructor(retry: RetryPolicy, nowUs: number) {
    this.budget = new RetryBudget(retry, nowUs)
  }

  /** Mean latency, or what is assumed before there is one, microseconds. */
  get typicalLatencyUs(): number {
    return this.latency.stored === 0 ? ASSUMED_LATENCY_US : this.latency.stored
  }

  /** `adaptive`: latency of its latest good answers, or what is assumed before there is one, microseconds. */
  get recentLatencyUs(): number {
    return this.recent.stored === 0 ? this.typicalLatencyUs : this.recent.stored
  }

  /** Thousandths of retry tokens there are. */
  retryTokens(retry: RetryPolicy, nowUs: number): number {
    return this.budget.peek(retry, this.picks, nowUs)
  }
}
