/** sfc32, seeded by splitmix32: the generator's only source of chance, so a seed repeats a run. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0
  const splitmix = () => {
    state = (state + 0x9e37_79b9) | 0
    let z = state ^ (state >>> 16)
    z = Math.imul(z, 0x21f0_aaad)
    z ^= z >>> 15
    z = Math.imul(z, 0x735a_2d97)
    return (z ^ (z >>> 15)) | 0
  }
  let a = splitmix()
  let b = splitmix()
  let c = splitmix()
  let counter = 1
  return () => {
    const sum = (((a + b) | 0) + counter) | 0
    counter = (counter + 1) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = (c << 21) | (c >>> 11)
    c = (c + sum) | 0
    return (sum >>> 0) / 4_294_967_296
  }
}
