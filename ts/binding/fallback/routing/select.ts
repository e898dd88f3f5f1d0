/**
 * The balancers: which of the eligible members is picked, by the table in `crates/routing/src/select.rs` and with its
 * draws in its order. Changes nothing but the round-robin cursor.
 */
import type { Rng } from '../random.js'
import { type Candidate, note } from './candidate.js'
import type { Cells } from './cells.js'
import { look } from './look.js'
import type { Membership } from './membership.js'

/** Positions of a turn that are tried before an eligible member is drawn. */
const POSITIONS = 64
/** Pairs that are drawn before every member is looked at. */
const PAIRS = 3

/** One pick's view of one service. */
export class Selection {
  readonly membership: Membership
  readonly keyHash: number
  readonly nowUs: number
  /** The candidates that were looked at, as many as are recorded. */
  readonly trace: Candidate[] = []
  readonly #cells: Cells

  constructor(cells: Cells, membership: Membership, keyHash: number, nowUs: number) {
    this.#cells = cells
    this.membership = membership
    this.keyHash = keyHash
    this.nowUs = nowUs
  }

  /** The best eligible member by the balancer's rule; undefined when none is eligible. */
  propose(rng: Rng): Candidate | undefined {
    if (this.membership.members.length === 0) return undefined
    if (this.keyHash !== 0) return this.#bestFrom(0)
    const { balancer } = this.membership.policy
    return balancer === 'round-robin' || balancer === 'weighted' ? this.#nextInTurn(rng) : this.#betterOfTwo(rng)
  }

  /** What there is to know of a member, noted for `explain`. */
  assess(index: number): Candidate {
    const candidate = this.look(index)
    note(this.trace, candidate, false)
    return candidate
  }

  look(index: number): Candidate {
    return look(this.#cells, this.membership, index, this.keyHash, this.nowUs)
  }

  #nextInTurn(rng: Rng): Candidate | undefined {
    const { members, schedule, service } = this.membership
    const turns = schedule.length === 0 ? members.length : schedule.length
    for (let tried = 0; tried < Math.min(turns, POSITIONS); tried++) {
      // Looking at a position consumes it. Were the next eligible member taken without that, the one after a failed
      // one would get its own turn and the failed one's.
      const position = service.cursor++ % turns
      const candidate = this.assess(schedule[position] ?? position)
      if (candidate.filter === null) return candidate
    }
    return this.#anyEligible(rng)
  }

  /** Few are eligible: draws one of them, by weight. */
  #anyEligible(rng: Rng): Candidate | undefined {
    const { members, policy } = this.membership
    const eligible = members.map((_, index) => this.look(index)).filter((candidate) => candidate.filter === null)
    const weigh = (candidate: Candidate) =>
      policy.balancer === 'weighted' ? this.membership.member(candidate.index).weight : 1
    const total = eligible.reduce((sum, candidate) => sum + weigh(candidate), 0)
    if (total === 0) return undefined
    let point = rng.below(total)
    return eligible.find((candidate) => {
      if (point < weigh(candidate)) return true
      point -= weigh(candidate)
      return false
    })
  }

  #betterOfTwo(rng: Rng): Candidate | undefined {
    const { membership } = this
    if (membership.members.length === 1) {
      const only = this.assess(0)
      return only.filter === null ? only : undefined
    }
    let first = 0
    for (let pair = 0; pair < PAIRS; pair++) {
      first = membership.owner(rng.below(membership.total))
      // The second is drawn from the others: all points but those of the first.
      const { weight } = membership.member(first)
      let point = rng.below(membership.total - weight)
      if (point >= membership.start(first)) point += weight
      const second = membership.owner(point)
      const a = this.assess(first)
      const b = this.assess(second)
      if (a.filter === null) return b.filter === null && b.score < a.score ? b : a
      if (b.filter === null) return b
    }
    return this.#bestFrom(first)
  }

  /** The lowest score of all members; the first one from `start` at equal scores. */
  #bestFrom(start: number): Candidate | undefined {
    const count = this.membership.members.length
    let best: Candidate | undefined
    for (let offset = 0; offset < count; offset++) {
      const candidate = this.assess((start + offset) % count)
      if (candidate.filter === null && (best === undefined || candidate.score < best.score)) best = candidate
    }
    return best
  }
}
