/** Exponential decay that Rust and TypeScript compute to the same bit: the twin of `crates/routing/src/decay.rs`. */

/** Time in which an estimate loses half of its weight, milliseconds. */
export const HALF_LIFE_MS = 10_000

/** 2^-0 to 2^-63, by halving: exact on every engine, which a power function need not be. */
const HALVED = Array.from({ length: 64 }, () => 1)
for (let whole = 1; whole < HALVED.length; whole++) HALVED[whole] = (HALVED[whole - 1] as number) / 2

/** `2^-(elapsed / halfLife)`: 1 at 0, then falling; 0 from 64 half-lives on. Both are whole milliseconds. */
export function decay(elapsedMs: number, halfLifeMs: number): number {
  if (elapsedMs === 0) return 1
  const halvings = elapsedMs / Math.max(halfLifeMs, 1)
  if (halvings >= 64) return 0
  const whole = Math.floor(halvings)
  const f = halvings - whole
  // Of 2^-f on 0..1: Chebyshev interpolation of degree 5, exact at both ends, highest power first.
  let value = -0.0009482305439681703
  value = value * f + 0.009226248574754504
  value = value * f + -0.05532849167467942
  value = value * f + 0.24019675543976707
  value = value * f + -0.693146281795873
  value = value * f + 1
  return value * (HALVED[whole] as number)
}
