/**
 * Measures rivals side by side: every round runs each of them once, in an order shuffled by the seed, so that a slow
 * second of the machine hits all alike. Every batch's answers are checked against the same reference.
 */
import { shuffled } from './random.mjs'

/**
 * @typedef {object} Rival
 * @property {string} name
 * @property {(count: number, first: number) => number | Promise<number>} run
 *   does `count` operations with the inputs from index `first` on; returns the digest of the answers
 *
 * @typedef {object} Timing  nanoseconds per operation
 * @property {string} name
 * @property {number} median  over the rounds
 * @property {number} best
 * @property {number} p50  over groups of `group` operations
 * @property {number} p99
 * @property {number} group
 * @property {number} operations  measured in all
 */

const WARM_UP_MS = 150
/** Operations in a round at most. */
const MAX_BATCH = 2 ** 24

/**
 * @param {Rival[]} rivals
 * @param {(count: number, first: number) => number} digest of the right answers
 * @param {{ random: () => number, rounds: number, roundMs: number }} options
 * @returns {Promise<Timing[]>} in the order of `rivals`
 */
export async function race(rivals, digest, { random, rounds, roundMs }) {
  const lanes = []
  for (const rival of rivals) lanes.push(await warmUp(rival, digest, roundMs))
  for (let round = 0; round < rounds; round++) {
    for (const lane of shuffled(lanes, random)) {
      const first = random() % 65_536
      const began = performance.now()
      const got = await lane.rival.run(lane.batch, first)
      lane.perOperation.push(((performance.now() - began) * 1e6) / lane.batch)
      check(lane.rival, got, digest(lane.batch, first))
      await sampleGroups(lane, first)
    }
  }
  return lanes.map(({ rival, batch, group, perOperation, samples }) => ({
    name: rival.name,
    median: quantile(perOperation, 0.5),
    best: Math.min(...perOperation),
    p50: quantile(samples, 0.5),
    p99: quantile(samples, 0.99),
    group,
    operations: batch * perOperation.length + group * samples.length,
  }))
}

/** Runs until the compiler has settled; finds how many operations fill a round and a sample. */
async function warmUp(rival, digest, roundMs) {
  let batch = 64
  let took = 0
  const end = performance.now() + WARM_UP_MS
  do {
    const began = performance.now()
    check(rival, await rival.run(batch, 0), digest(batch, 0))
    took = performance.now() - began
    if (took < roundMs / 2) batch = Math.min(MAX_BATCH, batch * 2)
  } while (performance.now() < end || (took < roundMs / 2 && batch < MAX_BATCH))
  batch = Math.min(MAX_BATCH, Math.max(1, Math.round((batch * roundMs) / took)))
  // A sample of less than a few microseconds would measure the clock.
  const group = Math.max(1, Math.ceil(0.005 / (took / batch)))
  return { rival, batch, group: group < 4 ? 1 : group, perOperation: [], samples: [] }
}

/** Times single operations (or the smallest groups that the clock can tell apart) for p50 and p99. */
async function sampleGroups(lane, first) {
  const { rival, group, samples } = lane
  const groups = Math.min(400, Math.ceil(lane.batch / group / 2))
  for (let index = 0; index < groups; index++) {
    const began = performance.now()
    const answer = rival.run(group, first + index)
    if (typeof answer !== 'number') await answer
    samples.push(((performance.now() - began) * 1e6) / group)
  }
}

function check(rival, got, wanted) {
  if (got !== wanted) throw new Error(`${rival.name} answered wrongly: digest ${got}, not ${wanted}`)
}

/**
 * @param {number[]} values
 * @param {number} q in 0..1
 */
export function quantile(values, q) {
  const sorted = Float64Array.from(values).sort()
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN
}
