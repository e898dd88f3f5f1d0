import { describe, expect, it } from 'vitest'
import { quantile, race } from '../../bench/harness/measure.mjs'
import { generator, shuffled } from '../../bench/harness/random.mjs'

function digest(count: number, first: number): number {
  let sum = first
  for (let n = 0; n < count; n++) sum = (sum + Math.imul(n, 0x9e3779b1)) | 0
  return sum
}
const options = { random: generator(1), rounds: 3, roundMs: 1 }

describe('the bench harness', () => {
  it('refuses a rival whose answers are wrong, also when only some are', async () => {
    const wrong = { name: 'wrong', run: (count: number) => count }
    await expect(race([wrong], digest, options)).rejects.toThrow('wrong answered wrongly')
    const late = { name: 'late', run: async (count: number, first: number) => (first === 0 ? count * 2 : -1) }
    await expect(race([late], digest, options)).rejects.toThrow('late answered wrongly')
  })

  it('measures synchronous and asynchronous rivals in the same rounds', async () => {
    const order: string[] = []
    const rival = (name: string) => ({
      name,
      run: (count: number, first: number) => {
        if (order.at(-1) !== name) order.push(name)
        return digest(count, first)
      },
    })
    const later = rival('later')
    const timings = await race(
      [rival('now'), { ...later, run: async (...given) => later.run(...given) }],
      digest,
      options,
    )
    expect(timings.map(({ name }) => name)).toEqual(['now', 'later'])
    // Warmed up one after the other, then interleaved.
    expect(order.length).toBeGreaterThan(3)
    for (const { median, best, p50, p99 } of timings) {
      expect(best).toBeGreaterThan(0)
      expect(median).toBeGreaterThanOrEqual(best)
      expect(p99).toBeGreaterThanOrEqual(p50)
    }
  })

  it('repeats an order from its seed, and leaves none out', () => {
    const names = ['a', 'b', 'c', 'd', 'e']
    expect(shuffled(names, generator(7))).toEqual(shuffled(names, generator(7)))
    expect(shuffled(names, generator(7)).sort()).toEqual(names)
    const random = generator(3)
    const firsts = new Set(Array.from({ length: 100 }, () => shuffled(names, random)[0]))
    expect(firsts.size).toBe(names.length)
  })

  it('takes a quantile by rank', () => {
    const values = Array.from({ length: 100 }, (_, index) => 100 - index)
    expect(quantile(values, 0.5)).toBe(51)
    expect(quantile(values, 0.99)).toBe(100)
    expect(quantile([], 0.5)).toBeNaN()
  })
})
