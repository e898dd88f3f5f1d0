/** The members of one tier, and what balancers prepare from their weights. As `crates/routing/src/pool.rs`. */
import type { Balancer } from '../../contract.js'
import { HashTable } from './hashing.js'
import { Homes } from './homes.js'
import type { Member } from './membership.js'
import { smooth } from './schedule.js'
import { MOST_TIERS } from './tiers.js'

/** A range of a membership's members. Indexes here are those of the membership. */
export class Pool {
  /** Index of the first. */
  readonly from: number
  readonly length: number
  /** Member indexes in the order of `weighted`; empty for the other balancers. */
  readonly schedule: readonly number[]
  /** Where keys find their members, for the balancers that need a table. */
  readonly table: HashTable | undefined
  /** Where they find them with the others. */
  readonly homes: Homes
  /** Sum of all weights. */
  readonly total: number
  /** Sum of the weights up to and including each member. */
  readonly #cumulative: readonly number[]
  /** Weight of each member when all are equal, else 0: a draw needs no search. */
  readonly #uniform: number

  constructor(balancer: Balancer, from: number, members: readonly Member[]) {
    this.from = from
    this.length = members.length
    const weights = members.map((member) => member.weight)
    let sum = 0
    this.#cumulative = weights.map((weight) => {
      sum += weight
      return sum
    })
    this.total = sum
    const [first = 0] = weights
    this.#uniform = weights.every((weight) => weight === first) ? first : 0
    this.schedule = balancer === 'weighted' ? smooth(weights).map((index) => from + index) : []
    this.table = HashTable.of(balancer, members)
    this.homes = new Homes(members)
  }

  /** One past the last index. */
  get end(): number {
    return this.from + this.length
  }

  /** The member that owns a point below {@link total}, each as many points as its weight. */
  owner(point: number): number {
    if (this.#uniform !== 0) return this.from + Math.floor(point / this.#uniform)
    let low = 0
    let high = this.#cumulative.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#cumulative[middle] as number) <= point) low = middle + 1
      else high = middle
    }
    return this.from + low
  }

  /** First point of a member. */
  start(index: number, member: Member): number {
    return (this.#cumulative[index - this.from] as number) - member.weight
  }
}

/** One pool per tier of members that are sorted by it; the last takes what is beyond {@link MOST_TIERS}. */
export function poolsOf(balancer: Balancer, members: readonly Member[]): Pool[] {
  const pools: Pool[] = []
  let from = 0
  while (from < members.length) {
    const tier = members[from]?.tier
    let end = members.findIndex((member, index) => index > from && member.tier !== tier)
    if (end === -1 || pools.length + 1 === MOST_TIERS) end = members.length
    pools.push(new Pool(balancer, from, members.slice(from, end)))
    from = end
  }
  return pools.length === 0 ? [new Pool(balancer, 0, [])] : pools
}
