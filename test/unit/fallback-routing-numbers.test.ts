/** Numbers that Rust and TypeScript compute to the same bit. The expected ones were printed by `crates/routing`. */
import { describe, expect, it } from 'vitest'
import { decay } from '../../ts/binding/fallback/decay.js'
import { Rng } from '../../ts/binding/fallback/random.js'
import { rendezvousScore } from '../../ts/binding/fallback/routing/hash.js'
import { smooth } from '../../ts/binding/fallback/routing/schedule.js'

describe('random numbers', () => {
  it.each([
    [42, 0, [1959603763, 2423114712, 2466933512, 4144396390], [5, 670, 53963612, 711354133]],
    [7, 1, [320109293, 3224430430, 4147295401, 1245837001], [2, 70, 130689826, 3132638150]],
    [4294967295, 3, [3768761027, 4134181717, 235802222, 3542406174], [6, 301, 129631779, 3132870756]],
  ])('of seed %i and thread %i', (seed, thread, drawn, bounded) => {
    const rng = new Rng(seed, thread)
    expect(drawn.map(() => rng.nextU32())).toEqual(drawn)
    expect([7, 1_000, 131_072_000, 4_294_967_295].map((bound) => rng.below(bound))).toEqual(bounded)
    expect(rng.below(0)).toBe(0)
  })
})

it.each([
  [0, 1],
  [1, 0.9999306877737326],
  [999, 0.9330975993026204],
  [5_000, 0.7071069948340936],
  [10_000, 0.5],
  [12_345, 0.42498971546846515],
  [333_333, 9.240104177046143e-11],
  [639_999, 5.421386632169786e-20],
  [640_000, 0],
])('decay after %i ms', (elapsed, expected) => {
  expect(decay(elapsed, 10_000)).toBe(expected)
})

it.each([
  [1, 2, 1, 2.2153890292882608],
  [3735928559, 77, 3, 0.18872424713997069],
  [123456789, 987654321, 1_000, 0.002152980078009019],
  [5, 4294967295, 7, 0.21620049707124167],
])('rendezvous score of key %i and member %i', (key, member, weight, expected) => {
  expect(rendezvousScore(key, member, weight)).toBe(expected)
})

it('a hundred thousand decays and scores have the digest of the crate', () => {
  const bits = new DataView(new ArrayBuffer(8))
  const rng = new Rng(9, 9)
  let digest = 0
  const add = (value: number) => {
    bits.setFloat64(0, value)
    digest = (Math.imul(digest, 31) + (bits.getUint32(0) ^ bits.getUint32(4))) >>> 0
  }
  for (let n = 0; n < 100_000; n++) {
    add(decay(rng.nextU32() >>> 12, 10_000))
    const [key, member] = [rng.nextU32(), rng.nextU32()]
    add(rendezvousScore(key, member, 1 + rng.below(1_000)))
  }
  expect(digest).toBe(1706135776)
})

it('turns by weight are evenly spaced', () => {
  expect(smooth([5, 1, 1])).toEqual([0, 0, 0, 1, 0, 0, 2])
  expect(smooth([7, 3, 2, 1])).toEqual([0, 1, 0, 0, 2, 0, 1, 0, 0, 1, 2, 0, 3])
  expect(smooth([20, 10, 10])).toEqual([0, 1, 0, 2])
  expect(smooth([])).toEqual([])
  const long = smooth([1, 999, 1_000, 1_000, 1_000, 1_000])
  expect([long.length, long.indexOf(0), long.slice(0, 5)]).toEqual([4_095, 340, [1, 2, 3, 4, 5]])
})
