/** Latencies of a run: log-linear buckets of whole microseconds, 64 to an octave, so a quantile is within 0.8 %. */

const SUB_BITS = 6
const SUB = 1 << SUB_BITS
/** Values up to 2^31 − 1 µs, about 36 minutes; larger ones count as that. */
const BUCKETS = (31 - SUB_BITS + 1) * SUB

export class LatencyHistogram {
  private readonly counts = new Float64Array(BUCKETS)
  private total = 0
  private largest = 0

  /** @param us latency, microseconds; negative and NaN count as 0 */
  record(us: number, count = 1): void {
    const value = us > 0 ? Math.min(Math.round(us), 0x7fff_ffff) : 0
    this.counts[bucketOf(value)]! += count
    this.total += count
    if (value > this.largest) this.largest = value
  }

  get count(): number {
    return this.total
  }

  get maxUs(): number {
    return this.largest
  }

  /** The value that a share `quantile` of the records does not exceed, microseconds; 0 when there are none. */
  quantileUs(quantile: number): number {
    if (this.total === 0) return 0
    let left = Math.max(1, Math.ceil(quantile * this.total))
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      left -= this.counts[bucket] as number
      if (left <= 0) return Math.min(middleOf(bucket), this.largest)
    }
    return this.largest
  }

  /** Takes over what another one has recorded. */
  add(other: LatencyHistogram): void {
    for (let bucket = 0; bucket < BUCKETS; bucket++) this.counts[bucket]! += other.counts[bucket] as number
    this.total += other.total
    if (other.largest > this.largest) this.largest = other.largest
  }

  reset(): void {
    this.counts.fill(0)
    this.total = 0
    this.largest = 0
  }

  summary(): LatencySummary {
    return {
      count: this.total,
      p50Us: this.quantileUs(0.5),
      p99Us: this.quantileUs(0.99),
      p999Us: this.quantileUs(0.999),
      maxUs: this.largest,
    }
  }
}

export interface LatencySummary {
  count: number
  p50Us: number
  p99Us: number
  p999Us: number
  maxUs: number
}

function bucketOf(value: number): number {
  if (value < SUB) return value
  const octave = 31 - Math.clz32(value) - SUB_BITS
  return (octave + 1) * SUB + (value >>> octave) - SUB
}

function middleOf(bucket: number): number {
  if (bucket < SUB) return bucket
  const octave = Math.floor(bucket / SUB) - 1
  return ((bucket % SUB) + SUB + 0.5) * 2 ** octave
}
