/** Weighted rendezvous hashing, to the bit of `crates/routing/src/hash.rs`. */
import { fmix32 } from '../text.js'

/** 2^0 to 2^32. */
const POWERS = Array.from({ length: 33 }, () => 1)
for (let exponent = 1; exponent < POWERS.length; exponent++) POWERS[exponent] = (POWERS[exponent - 1] as number) * 2

/**
 * Score of a member for a key: the lowest wins, and a member of weight `w` wins `w` / total of the keys.
 * `-log2(u) / weight` for a uniform `u` that key and member decide [Schindelhauer and Schomaker 2005].
 */
export function rendezvousScore(keyHash: number, member: number, weight: number): number {
  const h = fmix32(keyHash ^ fmix32(member))
  // u = (h + 1) / 2^32 in (0, 1], so -log2(u) = 32 - log2(h + 1), 0 to 32.
  return (32 - log2(h + 1)) / Math.max(weight, 1)
}

/**
 * log2 of a whole number in 1..=2^32: exponent, plus 2/ln(2)·atanh((m-1)/(m+1)) of the mantissa by its odd series up to
 * the 11th power (error below 2e-7). `Math.log2` is not the same bit on every engine.
 */
export function log2(x: number): number {
  const exponent = x === 0x1_0000_0000 ? 32 : 31 - Math.clz32(x)
  const m = x / (POWERS[exponent] as number)
  const s = (m - 1) / (m + 1)
  const q = s * s
  const series = ((((q / 11 + 1 / 9) * q + 1 / 7) * q + 1 / 5) * q + 1 / 3) * q + 1
  return exponent + 2.8853900817779268 * s * series
}
