/** Repeatable choices for tests: sfc32 from one seed. */

/** The seed of this run: `LINKMESH_FUZZ_SEED`, or a fixed one so that a red run can be repeated. */
export function fuzzSeed(): number {
  const given = Number(process.env.LINKMESH_FUZZ_SEED ?? '')
  return Number.isInteger(given) && given > 0 ? given >>> 0 : 0x5eed_2026
}

export class Random {
  readonly #state: Uint32Array

  constructor(seed: number) {
    this.#state = Uint32Array.of(seed, seed ^ 0x9e3779b9, seed ^ 0x243f6a88, 1)
    for (let i = 0; i < 12; i++) this.u32()
  }

  u32(): number {
    const s = this.#state
    const [a, b, c, d] = s as unknown as [number, number, number, number]
    const sum = (a + b + d) >>> 0
    s[3] = d + 1
    s[0] = b ^ (b >>> 9)
    s[1] = c + (c << 3)
    s[2] = ((c << 21) | (c >>> 11)) + sum
    return sum
  }

  /** 0 ≤ x < n. */
  below(n: number): number {
    return Math.floor((this.u32() / 2 ** 32) * n)
  }

  chance(probability: number): boolean {
    return this.u32() < probability * 2 ** 32
  }

  of<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)] as T
  }

  /** So many of them, each independently. */
  some<T>(most: number, make: () => T): T[] {
    return Array.from({ length: this.below(most + 1) }, make)
  }
}
