/** How contenders of the memory bench are timed: in turns, each round in another order, medians of the rounds. */
import { quantile } from '../measure.mjs'
import { shuffled } from '../random.mjs'

/** Rounds of every contender in shuffled order; the first two warm up and do not count. */
export async function rounds({ rounds, random }, contenders) {
  const results = Object.fromEntries(Object.keys(contenders).map((name) => [name, []]))
  for (let round = -2; round < rounds; round++)
    for (const name of shuffled(Object.keys(contenders), random)) {
      const result = await contenders[name]()
      if (round >= 0) results[name].push(result)
    }
  return results
}

export const median = (results, field) =>
  quantile(
    results.map((result) => result[field]),
    0.5,
  )

/** Times single operations for so long, µs, and the processor time that each took in both processes. */
export function timed(one, cpu, ms) {
  return async () => {
    const times = []
    const before = await cpu()
    const until = performance.now() + ms
    for (let now = performance.now(); now < until; ) {
      await one()
      const then = performance.now()
      times.push((then - now) * 1_000)
      now = then
    }
    const used = (await cpu()) - before
    return { p50: quantile(times, 0.5), p99: quantile(times, 0.99), cpu: used / times.length }
  }
}

/** Operations a second, `count` of them at a time, for so long. */
export function counted(some, count, cpu, ms) {
  return async () => {
    let done = 0
    const before = await cpu()
    const began = performance.now()
    while (performance.now() - began < ms) {
      await some(count)
      done += count
    }
    const elapsed = performance.now() - began
    return { rate: (done * 1_000) / elapsed, cpu: ((await cpu()) - before) / done }
  }
}

export const latencyLines = (results) =>
  Object.entries(results).map(([name, found]) => ({
    name,
    value: median(found, 'p50'),
    more: { p99: median(found, 'p99'), ...cpuOf(found) },
  }))
export const rateLines = (results) =>
  Object.entries(results).map(([name, found]) => ({ name, value: median(found, 'rate'), more: cpuOf(found) }))
export const cpuOf = (found) => (found[0].cpu === undefined ? {} : { cpu: median(found, 'cpu') })
