/** Which instances a service has: never changed, but replaced as a whole. As `crates/routing/src/membership.rs`. */
import type { Handle } from '../../contract.js'
import type { FullPolicy } from './policy.js'
import { smooth } from './schedule.js'
import type { ServiceState } from './service.js'

/** One instance as the balancers need it. */
export interface Member {
  readonly handle: Handle
  readonly thread: number
  readonly weight: number
  /** Who it is to rendezvous hashing: by its address, so that keys find it again after it was away. */
  readonly affinity: number
}

/** A service's members in the order of their registration, and what balancers prepare from them. */
export class Membership {
  readonly policy: FullPolicy
  readonly members: readonly Member[]
  /** What lives longer than this list of members. */
  readonly service: ServiceState
  /** Member indexes in the order of `weighted`; empty for the other balancers. */
  readonly schedule: readonly number[]
  /** Sum of all weights. */
  readonly total: number
  /** Sum of the weights up to and including each member. */
  readonly #cumulative: readonly number[]
  /** All weights are equal: a draw needs no search. */
  readonly #uniform: boolean

  constructor(policy: FullPolicy, members: readonly Member[], service: ServiceState) {
    this.policy = policy
    this.members = members
    this.service = service
    const weights = members.map((member) => member.weight)
    let sum = 0
    this.#cumulative = weights.map((weight) => {
      sum += weight
      return sum
    })
    this.total = sum
    this.#uniform = weights.every((weight) => weight === weights[0])
    this.schedule = policy.balancer === 'weighted' ? smooth(weights) : []
  }

  member(index: number): Member {
    return this.members[index] as Member
  }

  /** The member that owns a point below {@link total}, each as many points as its weight. */
  owner(point: number): number {
    if (this.#uniform) return Math.floor(point / this.member(0).weight)
    let low = 0
    let high = this.#cumulative.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#cumulative[middle] as number) <= point) low = middle + 1
      else high = middle
    }
    return low
  }

  /** First point of a member. */
  start(index: number): number {
    return (this.#cumulative[index] as number) - this.member(index).weight
  }
}
