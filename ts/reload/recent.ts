/** Answers of the last minute, and of spans that somebody watches. */
import { LatencyHistogram } from '../metrics/latency-histogram.js'
import type { Slice, AnswerWindow } from './bounds.js'

/** Seconds that are kept. */
const KEPT = 60
/** Spans that are watched at once. */
const SPANS = 16
/** A slice of a span, milliseconds, until there are so many of them: then two become one, and the next are as long. */
const SLICE_MS = 100
const SLICES = 256

class Answers {
  /** Which second it is; 0 = never used. */
  number = 0
  requests = 0
  failed = 0
  readonly latencies = new LatencyHistogram()

  record(us: number, failed: boolean, count: number): void {
    this.requests += count
    if (failed) this.failed += count
    this.latencies.record(us, count)
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

  window(): AnswerWindow {
    const { requests, failed, latencies } = this
    return { requests, failed, p50Us: latencies.quantileUs(0.5), p99Us: latencies.quantileUs(0.99) }
  }
}

/** What was answered since a moment, as a whole and slice by slice. */
class Span {
  readonly all = new Answers()
  slices: Slice[] = []
  #sliceMs = SLICE_MS
  #at = -1

  constructor(
    readonly beganMs: number,
    readonly slowUs: number,
  ) {}

  record(us: number, failed: boolean, count: number, nowMs: number): void {
    this.all.record(us, failed, count)
    const at = Math.floor((nowMs - this.beganMs) / this.#sliceMs)
    if (at !== this.#at) {
      this.#at = at
      if (this.slices.length === SLICES) this.#halve(nowMs)
      this.slices.push({ requests: 0, failed: 0, slow: 0 })
    }
    const slice = this.slices[this.slices.length - 1] as Slice
    slice.requests += count
    if (failed) slice.failed += count
    if (us > this.slowUs) slice.slow += count
  }

  #halve(nowMs: number): void {
    const slices = this.slices
    this.slices = slices.flatMap((slice, index) => (index % 2 ? [] : [added(slice, slices[index + 1] as Slice)]))
    this.#sliceMs *= 2
    this.#at = Math.floor((nowMs - this.beganMs) / this.#sliceMs)
  }
}

const added = (a: Slice, b: Slice): Slice => ({
  requests: a.requests + b.requests,
  failed: a.failed + b.failed,
  slow: a.slow + b.slow,
})

export class RecentAnswers {
  readonly #seconds = Array.from({ length: KEPT }, () => new Answers())
  readonly #spans = new Map<number, Span>()
  #next = 1

  /** A request was answered, or `count` of them alike. */
  record(us: number, failed: boolean, count = 1, nowMs = performance.now()): void {
    if (count === 0) return
    const number = Math.floor(nowMs / 1_000) + 1
    const second = this.#seconds[number % KEPT] as Answers
    if (second.number !== number) {
      second.clear()
      second.number = number
    }
    second.record(us, failed, count)
    for (const span of this.#spans.values()) span.record(us, failed, count, nowMs)
  }

  /** What was answered in the last `ms`, in whole seconds, at most a minute. */
  last(ms: number, nowMs = performance.now()): AnswerWindow {
    const newest = Math.floor(nowMs / 1_000) + 1
    const oldest = newest - Math.min(KEPT - 1, Math.ceil(ms / 1_000))
    const sum = new Answers()
    for (const second of this.#seconds) if (second.number >= oldest && second.number <= newest) sum.add(second)
    return sum.window()
  }

  /** From now on answers count for a span of their own, until its {@link end}. Longer than `slowUs` is slow. */
  begin(slowUs = Number.POSITIVE_INFINITY, nowMs = performance.now()): number {
    if (this.#spans.size >= SPANS) throw new RangeError(`at most ${SPANS} spans are watched at once`)
    const span = this.#next++
    this.#spans.set(span, new Span(nowMs, slowUs))
    return span
  }

  /** What was answered in the span so far. */
  since(span: number): { window: AnswerWindow; slices: readonly Slice[] } {
    const { all, slices } = this.#spans.get(span) as Span
    return { window: all.window(), slices }
  }

  end(span: number): void {
    this.#spans.delete(span)
  }
}
