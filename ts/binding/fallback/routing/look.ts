/** What there is to know of one member: whether it is eligible, and its score. First half of `crates/routing/src/select.rs`. */
import { Health, InstanceWord as Word } from '../../contract.js'
import { adaptiveScore, FORGIVEN_MS } from './adaptive.js'
import type { Candidate, Filter } from './candidate.js'
import type { Cells, InstanceState } from './cells.js'
import { toMs } from './estimate.js'
import type { Membership } from './membership.js'
import type { Rank } from './qos.js'

/** Weight of p² in requests in flight; p is the share of recent requests that failed. */
const FAILING_WEIGHT = 1_000
/** Longest `Retry-After` that is honoured, microseconds. */
export const LONGEST_REJECTED_US = 300_000_000
/** Longest ejection, microseconds: an hour. Longer than that: the clock stepped back, and it is over. */
export const LONGEST_EJECTION_US = 3_600_000_000
/** Score of a probe that is due. */
const PROBE_SCORE = -1

/** For `adaptive`: means of the members it looks at. */
export interface Usual {
  readonly inFlight: number
  readonly failing: number
}

/** Looks at a member. Changes nothing. */
export function look(
  cells: Cells,
  membership: Membership,
  index: number,
  rank: Rank,
  keyHash: number,
  nowUs: number,
  panic: boolean,
  usual: Usual,
): Candidate {
  const { handle } = membership.member(index)
  const candidate: Candidate = {
    index,
    handle,
    filter: null,
    probe: false,
    limit: membership.limitOf(rank, cells.get(handle, Word.Limit)),
    inFlight: cells.get(handle, Word.InFlight),
    latencyUs: cells.latencyUs(handle),
    breaker: cells.breaker(handle),
    health: cells.health(handle),
    score: Number.NaN,
    eligibleAtUs: Number.POSITIVE_INFINITY,
  }
  const state = cells.is(handle) ? cells.state(handle) : undefined
  if (state === undefined) {
    candidate.filter = 'dead'
    candidate.health = Health.Dead
    return candidate
  }
  candidate.filter = filterOf(candidate, state, membership, nowUs, panic)
  if (candidate.filter === null) candidate.score = scoreOf(candidate, state, membership, keyHash, nowUs, usual)
  return candidate
}

/** Requests in flight and failures by weight, whatever the balancer; lower is better. */
export function loadOf(cells: Cells, membership: Membership, candidate: Candidate, nowUs: number): number {
  const failing = cells.state(candidate.handle)?.failing.faded(toMs(nowUs)) ?? 0
  const busy = candidate.inFlight + FAILING_WEIGHT * (failing * failing)
  return busy / membership.member(candidate.index).weight
}

/** Why it is not eligible. Notes in the candidate when time will lift that, and whether it would be a probe. */
function filterOf(
  candidate: Candidate,
  state: InstanceState,
  membership: Membership,
  nowUs: number,
  panic: boolean,
): Filter {
  if (candidate.health === Health.Draining) return 'draining'
  if (candidate.health === Health.Dead) return 'dead'
  // What keeps single ones out says little when most are out.
  if (!panic) {
    const verdict = state.breaker.verdict(membership.policy.breaker, nowUs)
    if (verdict.kind === 'open' || verdict.kind === 'probe-taken') {
      candidate.eligibleAtUs = verdict.untilUs
      return verdict.kind === 'open' ? 'breaker-open' : 'probe-taken'
    }
    candidate.probe = verdict.kind === 'probe'
    if (!candidate.probe && isEjected(state, nowUs)) {
      candidate.eligibleAtUs = state.ejectedUntilUs
      return 'ejected'
    }
  }
  if (candidate.limit !== 0 && candidate.inFlight >= candidate.limit) return 'at-limit'
  // Longer than it can be: the clock stepped back, and it is over.
  const left = state.rejectedUntilUs - nowUs
  if (left > 0 && left <= LONGEST_REJECTED_US) {
    candidate.eligibleAtUs = state.rejectedUntilUs
    return 'rejected-recently'
  }
  return null
}

/** Whether it is kept out by an ejection. */
export function isEjected(state: InstanceState, nowUs: number): boolean {
  const left = state.ejectedUntilUs - nowUs
  return left > 0 && left <= LONGEST_EJECTION_US
}

/** A key is no question of scores. */
function scoreOf(
  candidate: Candidate,
  state: InstanceState,
  membership: Membership,
  keyHash: number,
  nowUs: number,
  usual: Usual,
): number {
  const { balancer } = membership.policy
  if (keyHash !== 0) return Number.NaN
  if (balancer === 'round-robin' || balancer === 'weighted' || balancer === 'random') return Number.NaN
  if (candidate.probe) return PROBE_SCORE
  if (balancer === 'adaptive') return adaptiveScoreOf(candidate, state, membership, nowUs, usual)
  const nowMs = toMs(nowUs)
  const failing = state.failing.faded(nowMs)
  const busy = candidate.inFlight + FAILING_WEIGHT * (failing * failing)
  const { weight } = membership.member(candidate.index)
  if (balancer !== 'peak-ewma') return finite(busy / weight)
  const measured = state.latency.faded(nowMs)
  const latencyUs = measured === 0 ? membership.service.typicalLatencyUs : measured
  return finite((latencyUs * (busy + 1)) / weight)
}

/** See `adaptive.ts`. */
export function adaptiveScoreOf(
  candidate: Candidate,
  state: InstanceState,
  membership: Membership,
  nowUs: number,
  usual: Usual,
): number {
  const nowMs = toMs(nowUs)
  // When all fail alike, the one that fails a little less must not get everything.
  const failing = Math.max(state.failing.faded(nowMs) - usual.failing, 0)
  const usualUs = membership.service.recentLatencyUs
  return finite(
    adaptiveScore({
      busy: candidate.inFlight + FAILING_WEIGHT * (failing * failing),
      weight: membership.member(candidate.index).weight,
      crowd: (candidate.inFlight + 1) / (usual.inFlight + 1),
      latencyUs: state.recent.fadedTo(usualUs, nowMs, FORGIVEN_MS),
      usualUs,
      silenceUs: candidate.inFlight === 0 ? 0 : Math.max(nowUs - state.answeredAtUs, 0),
    }),
  )
}

/** Estimates are finite and weights at least 1; should that ever break, the member loses instead of winning. */
function finite(score: number): number {
  return Number.isFinite(score) ? score : Number.MAX_VALUE
}
