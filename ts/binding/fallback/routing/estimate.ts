/** Figures that fade with time, as `crates/routing/src/estimate.rs`: a float32 and the millisecond of its last change. */
import { decay, HALF_LIFE_MS } from '../decay.js'

const FLOAT32_MAX = 3.4028234663852886e38

/** Milliseconds of the mesh's clock, modulo 2^32 (49 days). */
export function toMs(nowUs: number): number {
  return Math.floor(nowUs / 1_000) >>> 0
}

/** Milliseconds from `then` to `now` on a clock modulo 2^32. When the clock stepped back: none. */
export function elapsedMs(then: number, now: number): number {
  const elapsed = (now - then) >>> 0
  return elapsed > 0x7fffffff ? 0 : elapsed
}

/** Peak latency, mean latency, or share of failures. */
export class Estimate {
  #value = 0
  #atMs = 0

  /** As if nothing had been measured. */
  reset(): void {
    this.#value = 0
    this.#atMs = 0
  }

  /** The value as stored, without decay. 0 = never set. */
  get stored(): number {
    return this.#value
  }

  /** The value as it has faded until now. 0 = never set. */
  faded(nowMs: number): number {
    return this.#value === 0 ? 0 : this.#value * decay(elapsedMs(this.#atMs, nowMs), HALF_LIFE_MS)
  }

  /** The value as it has faded until now, towards `usual`: that is also what was never set. */
  fadedTo(usual: number, nowMs: number, halfLifeMs: number): number {
    if (this.#value === 0) return usual
    return usual + (this.#value - usual) * decay(elapsedMs(this.#atMs, nowMs), halfLifeMs)
  }

  /** Moves {@link fadedTo} by `step` of its distance to the sample. */
  lean(sample: number, step: number, usual: number, nowMs: number, halfLifeMs: number): void {
    const from = this.fadedTo(usual, nowMs, halfLifeMs)
    this.#set(from + (sample - from) * step, nowMs)
  }

  /**
   * Peak-EWMA: a sample above the faded estimate replaces it at once, one below pulls it down by the time since the
   * last change, at most once a millisecond. Undefined when nothing changed, else the new value.
   */
  peak(sample: number, nowMs: number): number | undefined {
    const value = this.#value
    const elapsed = elapsedMs(this.#atMs, nowMs)
    if (value === 0) return this.#set(sample, nowMs)
    if (elapsed === 0) return sample > value ? this.#set(sample, nowMs) : undefined
    const share = decay(elapsed, HALF_LIFE_MS)
    return this.#set(sample > value * share ? sample : sample + (value - sample) * share, nowMs)
  }

  /** Time-weighted mean: moved towards the sample by the time since the last change, at most once a millisecond. */
  mean(sample: number, nowMs: number): void {
    const value = this.#value
    const elapsed = elapsedMs(this.#atMs, nowMs)
    if (value === 0) this.#set(sample, nowMs)
    else if (elapsed > 0) this.#set(sample + (value - sample) * decay(elapsed, HALF_LIFE_MS), nowMs)
  }

  /** Moves the faded value by `step` of its distance to `target`; below `floor` it is 0. */
  approach(target: number, step: number, floor: number, nowMs: number): void {
    if (this.#value === 0 && target === 0) return
    const faded = this.#value * decay(elapsedMs(this.#atMs, nowMs), HALF_LIFE_MS)
    const next = faded + (target - faded) * step
    this.#set(next < floor ? 0 : next, nowMs)
  }

  #set(value: number, nowMs: number): number {
    const rounded = Math.fround(value)
    this.#value = Number.isFinite(rounded) ? rounded : FLOAT32_MAX
    this.#atMs = nowMs
    return this.#value
  }
}
