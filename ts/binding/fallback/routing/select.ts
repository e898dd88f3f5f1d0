/**
 * The balancers: which of the eligible members is picked, by the table in `crates/routing/src/select.rs` and with its
 * draws in its order. Changes nothing but the round-robin cursor.
 */
import { InstanceWord as Word } from '../../contract.js'
import type { Rng } from '../random.js'
import { HOT } from './adaptive.js'
import { type Candidate, note } from './candidate.js'
import type { Cells } from './cells.js'
import { toMs } from './estimate.js'
import { rendezvousScore } from './hash.js'
import { nearest } from './homes.js'
import { adaptiveScoreOf, loadOf, look, type Usual } from './look.js'
import type { Membership } from './membership.js'
import type { Pool } from './pool.js'
import type { Rank } from './qos.js'
import { drawTier, sharesNow } from './tiers.js'

/** Positions of a turn, or random draws, that are tried before an eligible member is drawn from all. */
const POSITIONS = 64
const DRAWS = 8
/** Pairs that are drawn before every member is looked at. */
const PAIRS = 3
/** Members that `adaptive` looks at. */
const SAMPLE = 16
/** Positions of a key's walk that are tried before every member is scored. */
const STEPS = 256
/** A slow start begins with this share of the full one, thousandths. */
const FIRST_SHARE = 100

/** One pick's view of one service. */
export class Selection {
  readonly membership: Membership
  readonly class: Rank
  keyHash: number
  readonly nowUs: number
  /** The candidates that were looked at, as many as are recorded. */
  readonly trace: Candidate[] = []
  /** Breakers and ejections are ignored. */
  #panic = false
  /** `adaptive` only: means of the members it looks at. */
  #usual: Usual = { inFlight: 0, failing: 0 }
  readonly #cells: Cells

  constructor(cells: Cells, membership: Membership, rank: Rank, keyHash: number, nowUs: number) {
    this.#cells = cells
    this.membership = membership
    this.class = rank
    this.keyHash = keyHash
    this.nowUs = nowUs
  }

  /** The best eligible member by the balancer's rule; undefined when none is eligible. */
  propose(rng: Rng): Candidate | undefined {
    const { membership } = this
    const { pools } = membership
    if (membership.plain) return this.#proposeIn(pools[0] as Pool, rng)
    const shares = sharesNow(this.#cells, membership, this.nowUs)
    const drawn = drawTier(shares, this.keyHash, rng)
    const others = [...pools.keys()].filter((tier) => tier !== drawn)
    for (const tier of [drawn, ...others]) {
      this.#panic = shares.panics[tier] === true
      const candidate = this.#proposeIn(pools[tier] as Pool, rng)
      if (candidate !== undefined) return candidate
    }
    return undefined
  }

  #proposeIn(pool: Pool, rng: Rng): Candidate | undefined {
    if (pool.length === 0) return undefined
    if (this.keyHash !== 0) return this.#byKey(pool, rng)
    const { balancer, balancing } = this.membership.policy
    switch (balancer) {
      case 'round-robin':
      case 'weighted':
        return this.#nextInTurn(pool, rng)
      case 'random':
        return this.#any(pool, rng)
      case 'adaptive':
        return this.#bestOfSample(pool, rng)
      case 'least-request':
      case 'peak-ewma':
        if (balancing.fullScan) return this.#bestOfAll(pool, rng)
        return this.#betterOfTwo(pool, rng)
      default:
        return this.#betterOfTwo(pool, rng)
    }
  }

  /** What there is to know of a member, noted for `explain`. */
  assess(index: number): Candidate {
    const candidate = this.look(index)
    note(this.trace, candidate, false)
    return candidate
  }

  look(index: number): Candidate {
    return look(this.#cells, this.membership, index, this.class, this.keyHash, this.nowUs, this.#panic, this.#usual)
  }

  /** Requests in flight and failures by weight. */
  load(candidate: Candidate): number {
    return loadOf(this.#cells, this.membership, candidate, this.nowUs)
  }

  /** Whether a member gives way by chance: it is in its slow start. */
  #givesWay(candidate: Candidate, rng: Rng): boolean {
    const { slowStartMs } = this.membership.policy.balancing
    const state = this.#cells.state(candidate.handle)
    if (slowStartMs === 0 || state === undefined) return false
    // Microseconds by milliseconds: thousandths.
    const share = Math.floor(Math.max(this.nowUs - state.warmingSinceUs, 0) / slowStartMs)
    return share < 1_000 && rng.below(1_000) >= Math.max(share, FIRST_SHARE)
  }

  #nextInTurn(pool: Pool, rng: Rng): Candidate | undefined {
    const { service } = this.membership
    const turns = pool.schedule.length === 0 ? pool.length : pool.schedule.length
    for (let tried = 0; tried < Math.min(turns, POSITIONS); tried++) {
      // Looking at a position consumes it. Were the next eligible member taken without that, the one after a failed
      // one would get its own turn and the failed one's.
      const position = service.cursor++ % turns
      const candidate = this.assess(pool.schedule[position] ?? pool.from + position)
      if (candidate.filter === null && !this.#givesWay(candidate, rng)) return candidate
    }
    return this.#anyEligible(pool, rng)
  }

  #any(pool: Pool, rng: Rng): Candidate | undefined {
    for (let draw = 0; draw < DRAWS; draw++) {
      const candidate = this.assess(pool.owner(rng.below(pool.total)))
      if (candidate.filter === null && !this.#givesWay(candidate, rng)) return candidate
    }
    return this.#anyEligible(pool, rng)
  }

  /** Few are eligible: draws one of them, by weight. */
  #anyEligible(pool: Pool, rng: Rng): Candidate | undefined {
    const { policy } = this.membership
    const eligible = this.#indexes(pool)
      .map((index) => this.look(index))
      .filter((candidate) => candidate.filter === null)
    const weigh = (candidate: Candidate) =>
      policy.balancer === 'round-robin' ? 1 : this.membership.member(candidate.index).weight
    const total = eligible.reduce((sum, candidate) => sum + weigh(candidate), 0)
    if (total === 0) return undefined
    let point = rng.below(total)
    return eligible.find((candidate) => {
      if (point < weigh(candidate)) return true
      point -= weigh(candidate)
      return false
    })
  }

  #betterOfTwo(pool: Pool, rng: Rng): Candidate | undefined {
    const { membership } = this
    if (pool.length === 1) {
      const only = this.assess(pool.from)
      return only.filter === null ? only : undefined
    }
    let first = pool.from
    for (let pair = 0; pair < PAIRS; pair++) {
      first = pool.owner(rng.below(pool.total))
      // The second is drawn from the others: all points but those of the first.
      const member = membership.member(first)
      let point = rng.below(pool.total - member.weight)
      if (point >= pool.start(first, member)) point += member.weight
      const second = pool.owner(point)
      const a = this.assess(first)
      const b = this.assess(second)
      const aStays = a.filter === null && !this.#givesWay(a, rng)
      const bStays = b.filter === null && !this.#givesWay(b, rng)
      if (aStays) return bStays && b.score < a.score ? b : a
      if (bStays) return b
    }
    return this.#bestFrom(pool, first, pool.length, undefined)
  }

  #bestOfAll(pool: Pool, rng: Rng): Candidate | undefined {
    const start = pool.owner(rng.below(pool.total))
    return this.#bestFrom(pool, start, pool.length, rng) ?? this.#bestFrom(pool, start, pool.length, undefined)
  }

  /** `adaptive`: some members in a row, so that their load and failures are compared with each other's. */
  #bestOfSample(pool: Pool, rng: Rng): Candidate | undefined {
    const start = pool.owner(rng.below(pool.total))
    const count = Math.min(SAMPLE, pool.length)
    this.#compare(pool, start, count)
    return this.#bestFrom(pool, start, count, rng) ?? this.#bestFrom(pool, start, pool.length, undefined)
  }

  /** `adaptive`: what is usual among `count` members from `start` on. */
  #compare(pool: Pool, start: number, count: number): void {
    const nowMs = toMs(this.nowUs)
    let inFlight = 0
    let failing = 0
    for (let at = start; at < start + count; at++) {
      const { handle } = this.membership.member(at < pool.end ? at : at - pool.length)
      inFlight += this.#cells.get(handle, Word.InFlight)
      failing += this.#cells.state(handle)?.failing.faded(nowMs) ?? 0
    }
    this.#usual = { inFlight: inFlight / count, failing: failing / count }
  }

  /** The lowest score of `count` members from `start` on, around; with `rng`, those in their slow start may give way. */
  #bestFrom(pool: Pool, start: number, count: number, rng: Rng | undefined): Candidate | undefined {
    let best: Candidate | undefined
    for (let offset = 0; offset < count; offset++) {
      const at = start + offset
      const candidate = this.assess(at < pool.end ? at : at - pool.length)
      if (candidate.filter !== null || (best !== undefined && !(candidate.score < best.score))) continue
      if (rng === undefined || !this.#givesWay(candidate, rng)) best = candidate
    }
    return best
  }

  /** The first member in the key's order that is eligible and below its bound; when all are above, the first eligible. */
  #byKey(pool: Pool, rng: Rng): Candidate | undefined {
    const { balancer, balancing, ordering } = this.membership.policy
    if (balancer === 'adaptive' && balancing.hashBalanceFactor === 0 && ordering === 'none')
      return this.#nearHome(pool, rng)
    const load = balancing.hashBalanceFactor === 0 ? 0 : this.#loadOf(pool)
    if (balancer === 'rendezvous') return this.#nearest(pool, load)
    let last = -1
    if (pool.table === undefined) {
      for (const at of pool.homes.walk(this.keyHash)) {
        if (at === last) continue
        last = at
        const candidate = this.assess(pool.from + at)
        if (candidate.filter === null && this.#isBelowBound(pool, candidate, load)) return candidate
      }
      return this.#nearest(pool, load)
    }
    let first: Candidate | undefined
    let step = 0
    for (const at of pool.table.walk(this.keyHash)) {
      if (step++ === STEPS) break
      if (at === last) continue
      last = at
      const candidate = this.assess(pool.from + at)
      if (candidate.filter !== null) continue
      if (this.#isBelowBound(pool, candidate, load)) return candidate
      first ??= candidate
    }
    return first ?? this.#nearest(pool, load)
  }

  /** `adaptive` with a key: the first of its homes that is no worse off than usual, else whoever is best. */
  #nearHome(pool: Pool, rng: Rng): Candidate | undefined {
    let last = -1
    for (const at of pool.homes.walk(this.keyHash)) {
      if (at === last) continue
      const index = pool.from + at
      if (last === -1) this.#compare(pool, index, Math.min(SAMPLE, pool.length))
      last = at
      const candidate = this.assess(index)
      if (candidate.filter === null && this.#isNoWorseOff(pool, candidate)) return candidate
    }
    // As a pick without a key.
    const { keyHash } = this
    this.keyHash = 0
    const best = this.#bestOfSample(pool, rng)
    this.keyHash = keyHash
    return best
  }

  /** Whether a member's score is at most {@link HOT} times that of a member as the compared ones are on average. */
  #isNoWorseOff(pool: Pool, candidate: Candidate): boolean {
    const usual = ((this.#usual.inFlight + 1) * pool.length) / pool.total
    const state = this.#cells.state(candidate.handle)
    return (
      state !== undefined && adaptiveScoreOf(candidate, state, this.membership, this.nowUs, this.#usual) <= HOT * usual
    )
  }

  /** By rendezvous hash of key and member. */
  #nearest(pool: Pool, load: number): Candidate | undefined {
    const { membership, keyHash } = this
    // Mostly the best is eligible, and nobody else need be looked at.
    const members = membership.members.slice(pool.from, pool.end)
    const best = this.assess(pool.from + nearest(members, keyHash))
    if (best.filter === null && this.#isBelowBound(pool, best, load)) return best
    let below: Candidate | undefined
    let any: Candidate | undefined
    let lowestBelow = Number.POSITIVE_INFINITY
    let lowest = Number.POSITIVE_INFINITY
    for (const index of this.#indexes(pool)) {
      const candidate = this.assess(index)
      if (candidate.filter !== null) continue
      const { affinity, weight } = membership.member(index)
      const score = rendezvousScore(keyHash, affinity, weight)
      if (score < lowest) {
        any = candidate
        lowest = score
      }
      if (score < lowestBelow && this.#isBelowBound(pool, candidate, load)) {
        below = candidate
        lowestBelow = score
      }
    }
    return below ?? any
  }

  /** Requests in flight on a pool, this one included. */
  #loadOf(pool: Pool): number {
    return this.#indexes(pool).reduce(
      (sum, index) => sum + this.#cells.get(this.membership.member(index).handle, Word.InFlight),
      1,
    )
  }

  /** Consistent hashing with bounded loads. `load` 0: no bound. */
  #isBelowBound(pool: Pool, candidate: Candidate, load: number): boolean {
    if (load === 0) return true
    const factor = this.membership.policy.balancing.hashBalanceFactor
    const { weight } = this.membership.member(candidate.index)
    return candidate.inFlight < Math.ceil((load * factor * weight) / (100 * pool.total))
  }

  #indexes(pool: Pool): number[] {
    return Array.from({ length: pool.length }, (_, offset) => pool.from + offset)
  }
}
