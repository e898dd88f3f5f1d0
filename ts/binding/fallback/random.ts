/**
 * Random numbers that Rust and TypeScript draw alike: sfc32 seeded by splitmix32, as `crates/routing/src/random.rs`.
 * Not for secrets.
 */

/** One generator per thread of a mesh. */
export class Rng {
  #a: number
  #b: number
  #c: number
  #counter = 1

  /** Equal seeds and threads give equal sequences, on every platform and in both languages. */
  constructor(seed: number, thread: number) {
    const state = seed ^ thread
    this.#a = splitmix32(state, 1)
    this.#b = splitmix32(state, 2)
    this.#c = splitmix32(state, 3)
    // sfc32 needs a dozen steps until every bit of the seed has reached every bit of the state.
    for (let step = 0; step < 12; step++) this.nextU32()
  }

  /** 32 random bits, unsigned. */
  nextU32(): number {
    const drawn = (this.#a + this.#b + this.#counter) | 0
    this.#counter = (this.#counter + 1) | 0
    this.#a = this.#b ^ (this.#b >>> 9)
    this.#b = (this.#c + (this.#c << 3)) | 0
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + drawn) | 0
    return drawn >>> 0
  }

  /** A number below `n`; 0 for `n` = 0. The bias is below `n` / 2^32. */
  below(n: number): number {
    const drawn = this.nextU32()
    // (drawn * n) >> 32 in two halves, each exact in a double.
    return Math.floor(((drawn >>> 16) * n + Math.floor(((drawn & 0xffff) * n) / 0x10000)) / 0x10000)
  }
}

/** 32 mixed bits: draw number `draw` of splitmix32 begun at `state`. */
function splitmix32(state: number, draw: number): number {
  const at = (state + Math.imul(draw, 0x9e3779b9)) | 0
  let mixed = Math.imul(at ^ (at >>> 16), 0x21f0aaad)
  mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97)
  return mixed ^ (mixed >>> 15)
}
