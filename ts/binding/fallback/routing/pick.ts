/** `pick`: choose, reserve, ticket. As `crates/routing/src/pick.rs`. */
import { type Handle, Status, type Ticket } from '../../contract.js'
import type { Rng } from '../random.js'
import type { Probe } from './breaker.js'
import { type Candidate, note } from './candidate.js'
import type { Decision, ExplainRing } from './explain.js'
import type { Membership } from './membership.js'
import { mayWait } from './policy.js'
import { classWord, type Rank } from './qos.js'
import { Selection } from './select.js'
import type { RouterState } from './state.js'

/** Proposals whose place may be gone before every member is tried in turn. */
const ATTEMPTS = 4
/** Longest advice to come back later, milliseconds. */
const LONGEST_ADVICE_MS = 60_000

/** What a pick says besides its ticket. */
export interface Picked {
  /** Handle of the instance; 0 when refused. */
  instance: Handle
  /** Thread it lives in; 0 for one by address. */
  thread: number
  /** When refused: how long to wait before it is worth trying again, milliseconds; 0 = unknown. */
  retryAfterMs: number
  /** This request decides whether a half-open breaker closes. */
  probe: boolean
}

export function noPick(): Picked {
  return { instance: 0, thread: 0, retryAfterMs: 0, probe: false }
}

/** Why nothing was picked. */
export interface Refusal {
  readonly status: Status
  readonly retryAfterMs: number
  /** When time alone makes a member eligible, microseconds; infinite = never. */
  readonly eligibleAtUs: number
}

export function refusalOf(status: Status, retryAfterMs = 0): Refusal {
  return { status, retryAfterMs, eligibleAtUs: Number.POSITIVE_INFINITY }
}

/** Who asks for an instance of what. */
export interface Request {
  readonly service: Handle
  readonly membership: Membership
  /** 0 = no affinity. */
  readonly keyHash: number
  readonly class: Rank
  /** The caller's. */
  readonly thread: number
  readonly nowUs: number
}

/** A member with its place taken. */
interface Taken {
  readonly candidate: Candidate
  readonly probe: Probe | undefined
}

/** Picks an instance and reserves a place on it: a ticket, with `out` filled, or why not. */
export function pickFrom(state: RouterState, request: Request, rng: Rng, out: Picked): Ticket | Refusal {
  const { service, membership, keyHash, nowUs } = request
  const explained = state.explained.of(rng)
  explained.begin()
  const selection = new Selection(state.cells, membership, request.class, keyHash, nowUs)
  const taken = choose(state, service, selection, rng)
  if (taken === undefined) return refuse(selection)
  const { candidate, probe } = taken
  const ticket = openTicket(state, request, selection, candidate, probe, explained, false, out)
  return ticket ?? refusalOf(Status.LimitExceeded, 1)
}

/** The ticket of a place that was taken; undefined when there are too many, and what was taken is given back. */
export function openTicket(
  state: RouterState,
  request: Request,
  selection: Selection,
  candidate: Candidate,
  probe: Probe | undefined,
  explained: ExplainRing,
  hedge: boolean,
  out: Picked,
): Ticket | undefined {
  const { service, membership, keyHash, thread, nowUs } = request
  const { policy } = membership
  const member = membership.member(candidate.index)
  const ticket = state.tickets.open({
    service,
    instance: member.handle,
    thread,
    probe,
    pickedAtUs: nowUs,
    leaseUntilUs: nowUs + policy.ticketLeaseMs * 1_000,
  })
  if (ticket === undefined) {
    if (probe !== undefined) state.cells.state(member.handle)?.breaker.releaseProbe(probe)
    state.cells.release(member.handle)
    return undefined
  }
  const retryTokens = membership.service.retryTokens(policy.retry, nowUs)
  if (!hedge) membership.service.picks += 1
  const { trace } = selection
  const cell = state.cells.state(member.handle)
  if (candidate.inFlight === 0 && policy.balancer === 'adaptive' && cell !== undefined) cell.answeredAtUs = nowUs
  note(trace, candidate, true)
  explained.record({
    ticket,
    service,
    keyHash,
    chosen: member.handle,
    balancer: policy.balancer,
    qos: classWord(request.class),
    hedge,
    atUs: nowUs,
    retryTokens,
    members: membership.members.length,
    trace,
  } satisfies Decision)
  out.instance = member.handle
  out.thread = member.thread
  out.retryAfterMs = 0
  out.probe = probe !== undefined
  return ticket
}

/** Who may not wait is shed by this refusal; of the others the queue knows what becomes. */
export function noteRefusal({ policy, service }: Membership, rank: Rank, refusal: Refusal): void {
  if (refusal.status === Status.Saturated && !mayWait(policy)) service.countShed(rank)
}

/** An eligible member with its place taken. */
function choose(state: RouterState, service: Handle, selection: Selection, rng: Rng): Taken | undefined {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const candidate = selection.propose(rng)
    if (candidate === undefined) return undefined
    const taken = take(state, service, selection, candidate)
    if (taken !== undefined) return taken
  }
  for (let index = 0; index < selection.membership.members.length; index++) {
    const candidate = selection.assess(index)
    if (candidate.filter !== null) continue
    const taken = take(state, service, selection, candidate)
    if (taken !== undefined) return taken
  }
  return undefined
}

/** Takes a place on a member, and a probe place if it is half-open. */
function take(state: RouterState, service: Handle, selection: Selection, candidate: Candidate): Taken | undefined {
  const { membership, nowUs } = selection
  const breaker = state.cells.state(candidate.handle)?.breaker
  let probe: Probe | undefined
  if (candidate.probe) {
    const leased = breaker?.leaseProbe(membership.policy.breaker, nowUs)
    if (leased?.transition !== undefined) state.breakerChanged(service, candidate.handle, leased.transition, nowUs)
    probe = leased?.probe
    if (probe === undefined) return undefined
  }
  if (state.cells.reserve(candidate.handle, candidate.limit)) return { candidate, probe }
  if (probe !== undefined) breaker?.releaseProbe(probe)
  return undefined
}

/** Why none was eligible, the most hopeful reason first: a place will be free, a breaker will close, never. */
function refuse(selection: Selection): Refusal {
  const { membership, nowUs } = selection
  let busy = false
  let rejected = false
  let ejected = false
  let draining = false
  let eligibleAtUs = Number.POSITIVE_INFINITY
  for (let index = 0; index < membership.members.length; index++) {
    const candidate = selection.look(index)
    eligibleAtUs = Math.min(eligibleAtUs, candidate.eligibleAtUs)
    const { filter } = candidate
    if (filter === 'breaker-open' || filter === 'probe-taken' || filter === 'ejected') ejected = true
    else if (filter === 'draining') draining = true
    // Time alone helps, and it is known which.
    else if (filter === 'rejected-recently') rejected = true
    else if (filter !== 'dead') busy = true
  }
  if (!busy && !rejected && !ejected) return refusalOf(draining ? Status.Draining : Status.NoInstance)
  let retryAfterMs = LONGEST_ADVICE_MS
  if (eligibleAtUs !== Number.POSITIVE_INFINITY) retryAfterMs = Math.ceil(Math.max(0, eligibleAtUs - nowUs) / 1_000)
  if (busy) retryAfterMs = Math.min(retryAfterMs, clampAdvice(membership.service.typicalLatencyUs / 1_000))
  return {
    status: busy || rejected ? Status.Saturated : Status.BreakerOpen,
    retryAfterMs: clampAdvice(retryAfterMs),
    eligibleAtUs,
  }
}

/** Milliseconds of an advice: whole, rounded up, 1 to a minute. */
export function clampAdvice(milliseconds: number): number {
  return Math.min(Math.max(Math.ceil(milliseconds), 1), LONGEST_ADVICE_MS)
}
