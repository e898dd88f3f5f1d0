/**
 * Where keys are at home with a balancer that does not hash: rendezvous hashing of a key's bucket, remembered. As
 * `crates/routing/src/hashing/homes.rs`.
 */
import { fmix32 } from '../text.js'
import { rendezvousScore } from './hash.js'
import type { Member } from './membership.js'

/** Buckets that keys fall into. */
const BUCKETS = 2 ** 16
/** Homes of a key, one after the other, that are asked before all members are scored for it. */
const HOMES = 16

/** Index of the member with the best score for a key; the first of equals. */
export function nearest(members: readonly Member[], keyHash: number): number {
  let best = 0
  let lowest = Number.POSITIVE_INFINITY
  for (const [index, { affinity, weight }] of members.entries()) {
    const score = rendezvousScore(keyHash, affinity, weight)
    if (score < lowest) {
      best = index
      lowest = score
    }
  }
  return best
}

export class Homes {
  readonly #members: readonly Member[]
  /** Index of each bucket's member, plus 1; 0 = not worked out yet. */
  #known: Uint32Array | undefined

  constructor(members: readonly Member[]) {
    this.#members = members
  }

  #of(bucket: number): number {
    this.#known ??= new Uint32Array(BUCKETS)
    const known = this.#known[bucket] as number
    if (known !== 0) return known - 1
    const home = nearest(this.#members, bucket)
    this.#known[bucket] = home + 1
    return home
  }

  /** Indexes of a key's homes, counted from the first of these members, in its order, with repetitions. */
  *walk(keyHash: number): Generator<number> {
    for (let step = 0; step < HOMES; step++) {
      const hash = step === 0 ? keyHash : fmix32((keyHash + Math.imul(step, 0x9e3779b9)) >>> 0)
      yield this.#of(hash % BUCKETS)
    }
  }
}
