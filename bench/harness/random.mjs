/** Seeded numbers, so that a run can be repeated: mulberry32. */

/**
 * @param {number} seed
 * @returns {() => number} uniform 32-bit unsigned integers
 */
export function generator(seed) {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return (mixed ^ (mixed >>> 14)) >>> 0
  }
}

/** A new array with the same items in random order (Fisher–Yates). */
export function shuffled(items, random) {
  const result = [...items]
  for (let last = result.length - 1; last > 0; last--) {
    const other = random() % (last + 1)
    ;[result[last], result[other]] = [result[other], result[last]]
  }
  return result
}
