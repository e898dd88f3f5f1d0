/** `complete`: give the place back, learn. As `crates/routing/src/complete.rs`. */
import { type Handle, Outcome, type Ticket, InstanceWord as Word } from '../../contract.js'
import { FORGIVEN_MS, LATENCY_STEP, SERVICE_STEP } from './adaptive.js'
import type { InstanceState } from './cells.js'
import { toMs } from './estimate.js'
import { LONGEST_REJECTED_US } from './look.js'
import type { Membership } from './membership.js'
import type { RouterState } from './state.js'
import type { OpenTicket } from './ticket.js'

/** How far one result moves the share of failures. */
const FAILING_STEP = 1 / 16
/** Below this the share is none. */
const FAILING_FLOOR = 0.001
/** A half-life that no clock sees the end of, milliseconds. */
const NEVER_MS = 2 ** 32 - 1
/** Longest latency that is believed, microseconds: eleven days. */
const LONGEST_US = 2 ** 40

/**
 * Closes a ticket: everything but passing the place on. `latencyUs` negative: the time since the pick. `retryAfterMs`:
 * what a rejection said, 0 = nothing. The service, for the one caller who closed the ticket.
 */
export function close(
  state: RouterState,
  ticket: Ticket,
  outcome: Outcome,
  latencyUs: number,
  retryAfterMs: number,
  nowUs: number,
): Handle | undefined {
  const closed = state.tickets.close(ticket)
  if (closed === undefined) return undefined
  // A clock that stepped back: no time passed.
  const since = latencyUs < 0 ? Math.max(0, nowUs - closed.pickedAtUs) : latencyUs
  const believedUs = Math.min(since, LONGEST_US)
  const membership = state.memberships.get(closed.service)
  if (state.cells.is(closed.instance)) {
    if (outcome !== Outcome.Cancelled) state.cells.state(closed.instance)?.latencies?.record(believedUs)
    const ended = { outcome, latencyUs: believedUs, measured: latencyUs >= 0, retryAfterMs }
    if (membership !== undefined) learn(state, membership, closed, ended, nowUs)
    state.cells.release(closed.instance)
  }
  if (outcome !== Outcome.Cancelled) membership?.service.latencies.record(believedUs)
  return closed.service
}

/** How a request ended. */
interface Ended {
  readonly outcome: Outcome
  readonly latencyUs: number
  /** The caller said how long it took. */
  readonly measured: boolean
  /** 0 = the instance did not say. */
  readonly retryAfterMs: number
}

function learn(state: RouterState, membership: Membership, closed: OpenTicket, ended: Ended, nowUs: number): void {
  const { outcome, latencyUs } = ended
  const { instance, probe } = closed
  const cell = state.cells.state(instance)
  if (cell === undefined) return
  const { policy, service } = membership
  cell.outcomes[outcome] = (cell.outcomes[outcome] as number) + 1
  if (outcome === Outcome.Cancelled) {
    state.cells.count(instance, Word.Cancelled)
    if (ended.measured) learnBound(state, membership, instance, cell, latencyUs, nowUs)
    if (probe !== undefined) cell.breaker.releaseProbe(probe)
    return
  }
  const nowMs = toMs(nowUs)
  // Never 0: that is what "never measured" looks like.
  let sample = Math.max(latencyUs, 1)
  if (outcome === Outcome.Ok) {
    state.cells.count(instance, Word.Succeeded)
    service.latency.mean(sample, nowMs)
    cell.failing.approach(0, FAILING_STEP, FAILING_FLOOR, nowMs)
    // What is over is forgotten.
    if (cell.rejectedUntilUs <= nowUs) cell.rejectedUntilUs = 0
    if (cell.ejectedUntilUs <= nowUs) cell.ejectedUntilUs = 0
  } else {
    state.cells.count(instance, Word.Failed)
    sample = Math.max(sample, cell.latency.stored, service.typicalLatencyUs)
    cell.failing.approach(1, FAILING_STEP, FAILING_FLOOR, nowMs)
  }
  const estimate = cell.latency.peak(sample, nowMs)
  if (estimate !== undefined) state.cells.setLatencyUs(instance, estimate)
  if (policy.balancer === 'adaptive') {
    const usualUs = service.recentLatencyUs
    if (outcome === Outcome.Ok) service.recent.lean(sample, SERVICE_STEP, usualUs, nowMs, NEVER_MS)
    cell.recent.lean(sample, LATENCY_STEP, usualUs, nowMs, FORGIVEN_MS)
    cell.answeredAtUs = nowUs
  }
  if (outcome === Outcome.Rejected) {
    // The instance protects itself: it is kept away for a while instead of being declared broken.
    const rejectedUs = Math.max(policy.rejectedMs, ended.retryAfterMs) * 1_000
    cell.rejectedUntilUs = nowUs + Math.min(rejectedUs, LONGEST_REJECTED_US)
    if (probe !== undefined) cell.breaker.releaseProbe(probe)
    return
  }
  const transition = cell.breaker.record(policy.breaker, outcome === Outcome.Ok, probe, nowUs)
  if (transition !== undefined) state.breakerChanged(closed.service, instance, transition, nowUs)
}

/** A request was given up: its instance would have taken longer still. */
function learnBound(
  state: RouterState,
  { policy, service }: Membership,
  instance: Handle,
  cell: InstanceState,
  latencyUs: number,
  nowUs: number,
): void {
  const nowMs = toMs(nowUs)
  const known = cell.latency.stored === 0 ? service.typicalLatencyUs : cell.latency.stored
  if (latencyUs > known) {
    const estimate = cell.latency.peak(latencyUs, nowMs)
    if (estimate !== undefined) state.cells.setLatencyUs(instance, estimate)
  }
  if (policy.balancer !== 'adaptive') return
  const usualUs = service.recentLatencyUs
  if (latencyUs > cell.recent.fadedTo(usualUs, nowMs, FORGIVEN_MS))
    cell.recent.lean(latencyUs, LATENCY_STEP, usualUs, nowMs, FORGIVEN_MS)
}
