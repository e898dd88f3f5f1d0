/** Which instances a service has: never changed, but replaced as a whole. As `crates/routing/src/membership.rs`. */
import type { Handle, Qos } from '../../contract.js'
import type { FullPolicy } from './policy.js'
import { WHOLE } from './policy-qos.js'
import { type Pool, poolsOf } from './pool.js'
import { CLASSES, type Rank, rankOf } from './qos.js'
import type { ServiceState } from './service.js'

/** One instance as the balancers need it. */
export interface Member {
  readonly handle: Handle
  readonly thread: number
  readonly weight: number
  /** Who it is to hashing: by its address, so that keys find it again after it was away. */
  readonly affinity: number
  /** What its ketama points grow from: see `hashing.ts`. */
  readonly seed: string
  /** Lower is used first; see `tiers.ts`. */
  readonly tier: number
}

/** A service's members by tier, within one in the order of their registration, and what balancers prepare from them. */
export class Membership {
  readonly policy: FullPolicy
  readonly members: readonly Member[]
  /** The members of each tier; one pool at least, which may be empty. */
  readonly pools: readonly Pool[]
  /** There is one pool and nothing to ignore in a panic. */
  readonly plain: boolean
  /** What lives longer than this list of members. */
  readonly service: ServiceState
  /** Share of its limit up to which an instance takes requests of a class, thousandths, by the class's number. */
  readonly #shares: readonly number[]

  constructor(policy: FullPolicy, members: readonly Member[], service: ServiceState) {
    this.policy = policy
    // Stable: registration order stays within a tier.
    this.members = [...members].sort((a, b) => a.tier - b.tier)
    // Shares of other tiers.
    service.shares = undefined
    this.pools = poolsOf(policy.balancer, this.members)
    this.plain = this.pools.length === 1 && policy.balancing.panicThreshold <= 0
    this.service = service
    const thousandths = (share: number) => Math.floor(share * WHOLE + 0.5)
    this.#shares = [WHOLE, ...CLASSES.map((word) => thousandths(policy.qos.shares[word]))]
  }

  /** The class of a request that names one or not. */
  classOf(qos: Qos): Rank {
    return qos === 0 ? rankOf(this.policy.qos.class) : qos
  }

  /** What an instance's limit is for a class; 0 = none. */
  limitOf(rank: Rank, limit: number): number {
    return Math.ceil((limit * (this.#shares[rank] as number)) / WHOLE)
  }

  /** Whether one class may find a place where another does not. */
  get hasShares(): boolean {
    return this.#shares.some((share) => share !== WHOLE)
  }

  member(index: number): Member {
    return this.members[index] as Member
  }
}
