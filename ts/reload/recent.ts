/** Answers of the last minute, and of spans that somebody watches. */
import { LatencyHistogram } from '../cli/load/histogram.js'
import type { Window } from './bounds.js'

/** Seconds that are kept. */
const KEPT = 60
/** Spans that are watched at once. */
const SPANS = 16

class Answers {
  /** Which second it is; 0 = never used. */
  number = 0
  requests = 0
  failed = 0
  readonly latencies = new LatencyHistogram()

  record(us: number, failed: boolean): void {
    this.requests++
    if (failed) this.failed++
    this.latencies.record(us)
  }

  add(other: Answers): void {
    this.requests += other.requests
    this.failed += other.failed
    this.latencies.add(other.latencies)
  }

  clear(): void {
    this.requests = 0
    this.failed = 0
    this.latencies.reset()
  }

  window(): Window {
    const { requests, failed, latencies } = this
    return { requests, failed, p50Us: latencies.quantileUs(0.5), p99Us: latencies.quantileUs(0.99) }
  }
}

export class RecentAnswers {
  readonly #seconds = Array.from({ length: KEPT }, () => new Answers())
  readonly #spans = new Map<number, Answers>()
  #next = 1

  /** One request was answered. */
  record(us: number, failed: boolean, nowMs = performance.now()): void {
    const number = Math.floor(nowMs / 1_000) + 1
    const second = this.#seconds[number % KEPT] as Answers
    if (second.number !== number) {
      second.clear()
      second.number = number
    }
    second.record(us, failed)
    for (const span of this.#spans.values()) span.record(us, failed)
  }

  /** What was answered in the last `ms`, in whole seconds, at most a minute. */
  last(ms: number, nowMs = performance.now()): Window {
    const newest = Math.floor(nowMs / 1_000) + 1
    const oldest = newest - Math.min(KEPT - 1, Math.ceil(ms / 1_000))
    const sum = new Answers()
    for (const second of this.#seconds) if (second.number >= oldest && second.number <= newest) sum.add(second)
    return sum.window()
  }

  /** From now on answers count for a span of their own, until its {@link end}. */
  begin(): number {
    if (this.#spans.size >= SPANS) throw new RangeError(`at most ${SPANS} spans are watched at once`)
    const span = this.#next++
    this.#spans.set(span, new Answers())
    return span
  }

  since(span: number): Window {
    return (this.#spans.get(span) ?? new Answers()).window()
  }

  end(span: number): void {
    this.#spans.delete(span)
  }
}
