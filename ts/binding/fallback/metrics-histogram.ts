/**
 * Base-2 exponential histogram of scale 5, 32 buckets an octave: the buckets, sums and estimates of
 * `crates/metrics/src/histogram.rs`, bit by bit. Relative error at most 1.1 %.
 */

import type { Exemplar } from './metrics-exemplar.js'

/** 2^(k/32), correctly rounded: `Math.pow` may be off by a bit, and an edge must be the same in both backends. */
const EDGES = [
  1,
  1.0218971486541166,
  1.0442737824274138,
  1.0671404006768237,
  1.0905077326652577,
  1.1143867425958924,
  1.1387886347566916,
  1.1637248587775775,
  1.189207115002721,
  1.215247359980469,
  1.241857812073484,
  1.2690509571917332,
  1.2968395546510096,
  1.3252366431597413,
  1.3542555469368927,
  1.383909881963832,
  Math.SQRT2,
  1.4451808069770467,
  1.4768261459394993,
  1.5091644275934228,
  1.5422108254079407,
  1.5759808451078865,
  1.6104903319492543,
  1.645755478153965,
  1.681792830507429,
  1.718619298122478,
  1.7562521603732995,
  1.7947090750031072,
  1.8340080864093424,
  1.8741676341103,
  1.9152065613971474,
  1.9571441241754002,
  2,
] as const

/** OpenTelemetry's scale: a bucket's edges are 2^(2^-SCALE) apart. */
export const SCALE = 5
const STEPS = 2 ** SCALE
/** Smallest octave: smaller values count as zero. */
const FIRST = -20
/** One past the largest octave: larger values count in the last bucket. */
const LAST = 40

const word = new DataView(new ArrayBuffer(8))

/** Exponent of a positive number: 2^e is at most the value. */
function octaveOf(value: number): number {
  word.setFloat64(0, value)
  return (word.getUint32(0) >>> 20) - 1023
}

function edgeOf(bucket: number): number {
  return (EDGES[bucket % STEPS] as number) * 2 ** (Math.floor(bucket / STEPS) + FIRST)
}

/** A distribution of non-negative values. */
export class Histogram {
  /** Counts by bucket; made with the first value that is not zero. */
  #buckets: Float64Array | undefined
  #zero = 0
  #count = 0
  #sum = 0
  #max = 0
  /** The newest of each octave. */
  readonly #exemplars = new Map<number, Exemplar>()

  /** Values below 2^-20. */
  get zero(): number {
    return this.#zero
  }
  get count(): number {
    return this.#count
  }
  get sum(): number {
    return this.#sum
  }
  get max(): number {
    return this.#max
  }

  /** Counts one value. Negative, NaN and infinite values are refused with `false`. */
  record(value: number): boolean {
    if (!(Number.isFinite(value) && value >= 0)) return false
    const octave = octaveOf(value + 0) // -0 counts as 0
    if (octave < FIRST) {
      this.#zero += 1
    } else {
      this.#buckets ??= new Float64Array((LAST - FIRST) * STEPS)
      const bucket = octave >= LAST ? this.#buckets.length - 1 : (octave - FIRST) * STEPS + stepOf(value / 2 ** octave)
      this.#buckets[bucket] = (this.#buckets[bucket] ?? 0) + 1
    }
    this.#count += 1
    this.#sum += value
    if (value > this.#max) this.#max = value
    return true
  }

  /** Says which request a value came from; the value itself is recorded besides. */
  exemplify(exemplar: Exemplar): void {
    this.#exemplars.set(Math.min(LAST - 1, Math.max(FIRST, octaveOf(exemplar.value + 0))), exemplar)
  }

  /** The newest exemplar from 2^from up to, not including, 2^to. */
  exemplarWithin(from: number, to: number): Exemplar | undefined {
    let newest: Exemplar | undefined
    for (const [octave, exemplar] of this.#exemplars) {
      if (octave >= from && octave < to && (newest === undefined || exemplar.atMs >= newest.atMs)) newest = exemplar
    }
    return newest
  }

  /** Every exemplar, smallest value first. */
  exemplars(): Exemplar[] {
    return [...this.#exemplars].sort(([a], [b]) => a - b).map(([, exemplar]) => exemplar)
  }

  /** OpenTelemetry's form of the buckets at {@link SCALE}: index of the first, and the counts up to the last. */
  dense(): { offset: number; counts: number[] } {
    const buckets = this.#buckets
    const first = buckets?.findIndex((count) => count > 0) ?? -1
    if (buckets === undefined || first < 0) return { offset: 0, counts: [] }
    const last = buckets.findLastIndex((count) => count > 0)
    return { offset: first + FIRST * STEPS, counts: [...buckets.subarray(first, last + 1)] }
  }

  /** Value below which a share `q` (0 to 1) lies; 0 when nothing was recorded. */
  quantile(q: number): number {
    if (this.#count === 0) return 0
    const rank = Math.max(1, Math.ceil(Math.min(1, Math.max(0, q)) * this.#count))
    let seen = this.#zero
    if (rank <= seen) return 0
    for (const [bucket, count] of (this.#buckets ?? []).entries()) {
      seen += count
      if (count > 0 && rank <= seen) {
        const low = edgeOf(bucket)
        const high = edgeOf(bucket + 1)
        // Equal relative distance to both edges; never above what was really seen.
        return Math.min((2 * low * high) / (low + high), this.#max)
      }
    }
    return this.#max
  }

  /** The same values, without exemplars. */
  copy(): Histogram {
    return this.since(new Histogram())
  }

  /** What was recorded after `earlier`, an older copy of it. The largest value is that of both. */
  since(earlier: Histogram): Histogram {
    const recent = new Histogram()
    recent.#buckets = this.#buckets?.map((count, bucket) => count - (earlier.#buckets?.[bucket] ?? 0))
    recent.#zero = this.#zero - earlier.#zero
    recent.#count = this.#count - earlier.#count
    recent.#sum = this.#sum - earlier.#sum
    recent.#max = this.#max
    return recent
  }

  /** Values below 2^octave. */
  belowPower(octave: number): number {
    const edge = (Math.min(LAST, Math.max(FIRST, octave)) - FIRST) * STEPS
    let below = this.#zero
    for (const count of this.#buckets?.subarray(0, edge) ?? []) below += count
    return below
  }
}

/** The bucket of a mantissa in 1 to 2, within its octave. */
function stepOf(mantissa: number): number {
  let step = 0
  for (let half = STEPS / 2; half >= 1; half /= 2) if ((EDGES[step + half] as number) <= mantissa) step += half
  return step
}
