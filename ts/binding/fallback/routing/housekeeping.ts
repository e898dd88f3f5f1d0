/** What happens because time passed, or because a thread ended. As `crates/routing/src/housekeeping.rs`. */
import { Outcome } from '../../contract.js'
import { detach, expireLeases } from './administer.js'
import { close } from './complete.js'
import { forgetTurns } from './key-order.js'
import { expireLedgers, forgetBegun } from './ledger.js'
import { forgetWaits, grantAll, timeOut } from './queue.js'
import type { RouterState } from './state.js'

/** Does what is due; returns the threads to wake for their grants. */
export function tick(state: RouterState, nowUs: number): number[] {
  expireLeases(state, nowUs)
  expireTickets(state, nowUs)
  state.logChanges()
  expireLedgers(state, nowUs)
  timeOut(state, nowUs)
  grantAll(state, nowUs)
  return state.waits.takeWakes()
}

/** When {@link tick} is due next, microseconds; 0 = now. Undefined: nothing will come of time alone. */
export function nextDeadline(state: RouterState): number | undefined {
  const lease = state.registry.nextDeadline() ?? Number.POSITIVE_INFINITY
  const deadline = Math.min(state.nextSweepUs, lease, state.waits.nextDeadlineUs)
  return deadline === Number.POSITIVE_INFINITY ? undefined : deadline
}

/** Closes as Unknown the tickets whose lease ran out. Looks through the open ones when the first of them may be due. */
function expireTickets(state: RouterState, nowUs: number): void {
  if (nowUs < state.nextSweepUs) return
  let nextUs = nowUs + state.shortestLeaseUs
  for (const [ticket, { leaseUntilUs }] of state.tickets.openOnes()) {
    if (leaseUntilUs <= nowUs) close(state, ticket, Outcome.Unknown, -1, 0, nowUs)
    else nextUs = Math.min(nextUs, leaseUntilUs)
  }
  state.nextSweepUs = nextUs
}

/** The instances of a thread that is gone are removed, the tickets it held end as Cancelled, its waits are dropped. */
export function threadEnded(state: RouterState, thread: number, nowUs: number): void {
  state.logChanges()
  const removed = state.registry
    .instances()
    .filter((instance) => instance.thread === thread && instance.address === undefined)
  state.registry.removeThread(thread, nowUs)
  detach(state, removed, nowUs)
  // First the waits: from then on nobody takes tickets in its name.
  forgetWaits(state, thread, nowUs)
  forgetTurns(state, thread)
  forgetBegun(state, thread)
  // Its callers are gone with it, so nothing is said of the instances.
  for (const [ticket, open] of state.tickets.openOnes())
    if (open.thread === thread) close(state, ticket, Outcome.Cancelled, -1, 0, nowUs)
  grantAll(state, nowUs)
}
