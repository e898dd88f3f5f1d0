/** Sliding window of successes and failures in ten buckets, as `crates/routing/src/window.rs`. */
import type { BreakerPolicy } from './policy.js'

const BUCKETS = 10
/** A bucket that would count more is halved: the rate stays. */
const COUNT_MAX = 2 ** 20 - 1
/** Periods are kept modulo this. */
const PERIODS = 2 ** 24

interface Bucket {
  period: number
  total: number
  failed: number
}

function periodOf(windowMs: number, nowUs: number): number {
  return Math.floor(nowUs / (windowMs * (1_000 / BUCKETS)))
}

/** A bucket of another period is empty. */
export class Window {
  readonly #buckets: Bucket[] = Array.from({ length: BUCKETS }, () => ({ period: 0, total: 0, failed: 0 }))

  reset(): void {
    for (const bucket of this.#buckets) {
      bucket.period = 0
      bucket.total = 0
      bucket.failed = 0
    }
  }

  /** Counts one request. */
  record(windowMs: number, ok: boolean, nowUs: number): void {
    const whole = periodOf(windowMs, nowUs)
    const bucket = this.#buckets[whole % BUCKETS] as Bucket
    const period = whole % PERIODS
    if (bucket.period !== period) {
      bucket.period = period
      bucket.total = 0
      bucket.failed = 0
    }
    if (bucket.total === COUNT_MAX) {
      bucket.total = Math.floor(bucket.total / 2)
      bucket.failed = Math.floor(bucket.failed / 2)
    }
    bucket.total += 1
    if (!ok) bucket.failed += 1
  }

  /** Requests and failures of the last ten periods, the present one included. */
  totals(windowMs: number, nowUs: number): [total: number, failed: number] {
    const now = periodOf(windowMs, nowUs) % PERIODS
    let total = 0
    let failed = 0
    for (const bucket of this.#buckets) {
      if ((now - bucket.period + PERIODS) % PERIODS >= BUCKETS) continue
      total += bucket.total
      failed += bucket.failed
    }
    return [total, failed]
  }

  /** Enough requests, too many failures. */
  isBad(policy: BreakerPolicy, nowUs: number): boolean {
    const [total, failed] = this.totals(policy.windowMs, nowUs)
    return total >= policy.minRequests && failed >= policy.errorRate * total
  }
}
