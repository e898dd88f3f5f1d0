/** Answers of the last seconds, kept so that any span of them can be looked at afterwards. */
import { LatencyHistogram } from '../cli/load/histogram.js'
import type { Window } from './bounds.js'

/** Seconds that are kept. */
const KEPT = 60

interface Second {
  /** Which one; 0 = never used. */
  number: number
  requests: number
  failed: number
  latencies: LatencyHistogram
}

export class RecentAnswers {
  readonly #seconds: Second[] = Array.from({ length: KEPT }, () => ({
    number: 0,
    requests: 0,
    failed: 0,
    latencies: new LatencyHistogram(),
  }))

  /** One request was answered. */
  record(us: number, failed: boolean, nowMs = performance.now()): void {
    const number = Math.floor(nowMs / 1_000) + 1
    const second = this.#seconds[number % KEPT] as Second
    if (second.number !== number) {
      second.number = number
      second.requests = 0
      second.failed = 0
      second.latencies.reset()
    }
    second.requests++
    if (failed) second.failed++
    second.latencies.record(us)
  }

  /** What was answered in the last `ms`, whole seconds, at most a minute. */
  last(ms: number, nowMs = performance.now()): Window {
    const newest = Math.floor(nowMs / 1_000) + 1
    const oldest = newest - Math.min(KEPT - 1, Math.ceil(ms / 1_000))
    const latencies = new LatencyHistogram()
    let [requests, failed] = [0, 0]
    for (const second of this.#seconds) {
      if (second.number < oldest || second.number > newest || second.number === 0) continue
      requests += second.requests
      failed += second.failed
      latencies.add(second.latencies)
    }
    return { requests, failed, p50Us: latencies.quantileUs(0.5), p99Us: latencies.quantileUs(0.99) }
  }
}
