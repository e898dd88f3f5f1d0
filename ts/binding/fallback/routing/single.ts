/** Single-precision numbers in JSON. */

/** The shortest decimal that reads back as the same float32, as Rust writes one; all else would be digits of noise. */
export function shortest32(single: number): number {
  for (let digits = 1; digits <= 9; digits++) {
    const decimal = Number(single.toPrecision(digits))
    if (Math.fround(decimal) === single) return decimal
  }
  return single
}
