/** Waiting for a place when every instance is at its limit. As `impl Router` in `crates/routing/src/waits.rs`. */
import { type Handle, Status, InstanceWord as Word } from '../../contract.js'
import type { Membership } from './membership.js'
import { clampAdvice, noPick, pickFrom, type Request } from './pick.js'
import type { RouterState } from './state.js'

/** Longest a request may wait, milliseconds: a day. */
const LONGEST_WAIT_MS = 86_400_000

/** A request is in the queue, or was granted a place at once. */
export interface Waiting {
  /** Names the wait in its grant. */
  readonly id: number
  /** The grant is there already: take it. */
  readonly granted: boolean
}

/** A request may not wait. */
export interface WaitRefused {
  readonly status: Status
  /** When it is worth trying again, milliseconds; 0 = unknown. */
  readonly retryAfterMs: number
  /** In words. */
  readonly message: string
}

/** Queues for the next place, first come first served. */
export function wait(
  state: RouterState,
  service: Handle,
  keyHash: number,
  thread: number,
  timeoutMs: number,
  nowUs: number,
): Waiting | WaitRefused {
  if (!(timeoutMs >= 0 && timeoutMs <= LONGEST_WAIT_MS)) {
    const message = `timeoutMs must be between 0 and ${LONGEST_WAIT_MS}`
    return { status: Status.InvalidArgument, retryAfterMs: 0, message }
  }
  const membership = state.memberships.get(service)
  if (membership === undefined)
    return { status: Status.StaleHandle, retryAfterMs: 0, message: 'the service was removed' }
  const { waits } = state
  const limit = membership.policy.queueLimit
  const length = waits.length(service)
  const { backpressure } = membership.policy
  if (backpressure === 'reject') {
    const message = 'requests do not wait for this service'
    return { status: Status.Saturated, retryAfterMs: drainTimeMs(state, membership, 1), message }
  }
  if (length >= limit && limit > 0 && backpressure === 'drop-oldest') {
    const oldest = waits.queues.get(service)?.[0]
    for (const dropped of waits.leave(service, (waiter) => waiter === oldest)) waits.refuse(dropped, Status.QueueFull)
  } else if (length >= limit) {
    const message = `${limit} requests wait for this service already`
    return { status: Status.QueueFull, retryAfterMs: drainTimeMs(state, membership, length), message }
  }
  if (length === 0) {
    const picked = noPick()
    const result = pickFrom(state, { service, membership, keyHash, thread, nowUs }, waits.rng, picked)
    if (typeof result === 'number') {
      const id = waits.nextId()
      waits.answer(thread, { waitId: id, result, instance: picked.instance, thread: picked.thread })
      waits.wakeLater(thread)
      return { id, granted: true }
    }
    const { status, retryAfterMs, eligibleAtUs } = result
    if (status !== Status.Saturated)
      return { status, retryAfterMs, message: 'no instance of this service will have a free place soon' }
    waits.firstChanceUs = Math.min(waits.firstChanceUs, eligibleAtUs)
  }
  const id = waits.nextId()
  const deadlineUs = nowUs + Math.ceil(timeoutMs * 1_000)
  waits.firstDeadlineUs = Math.min(waits.firstDeadlineUs, deadlineUs)
  waits.enqueue(service, { id, keyHash, thread, deadlineUs })
  return { id, granted: false }
}

/** Gives places to the first in the queue as long as there are any. The threads to wake, in the order of grants. */
export function grant(state: RouterState, membership: Membership, service: Handle, nowUs: number): number[] {
  const { waits } = state
  const threads: number[] = []
  for (;;) {
    const waiter = waits.queues.get(service)?.[0]
    if (waiter === undefined) return threads
    const { id, keyHash, thread } = waiter
    const picked = noPick()
    const request: Request = { service, membership, keyHash, thread, nowUs }
    const result = pickFrom(state, request, waits.rng, picked)
    if (typeof result !== 'number') {
      waits.firstChanceUs = Math.min(waits.firstChanceUs, result.eligibleAtUs)
      return threads
    }
    waits.dequeue(service)
    waits.answer(thread, { waitId: id, result, instance: picked.instance, thread: picked.thread })
    threads.push(thread)
  }
}

/** Gives places to whoever waits, for any service. */
export function grantAll(state: RouterState, nowUs: number): void {
  const { waits } = state
  waits.firstChanceUs = Number.POSITIVE_INFINITY
  for (const service of waits.services()) {
    const membership = state.memberships.get(service)
    if (membership === undefined) {
      for (const waiter of waits.leave(service, () => true)) waits.refuse(waiter, Status.NotFound)
    } else {
      for (const thread of grant(state, membership, service, nowUs)) waits.wakeLater(thread)
    }
  }
}

/** Refuses whose time is over. */
export function timeOut(state: RouterState, nowUs: number): void {
  const { waits } = state
  if (nowUs < waits.firstDeadlineUs) return
  waits.firstDeadlineUs = Number.POSITIVE_INFINITY
  for (const service of waits.services()) {
    const over = waits.leave(service, (waiter) => waiter.deadlineUs <= nowUs)
    for (const { deadlineUs } of waits.queues.get(service) ?? [])
      waits.firstDeadlineUs = Math.min(waits.firstDeadlineUs, deadlineUs)
    for (const waiter of over) waits.refuse(waiter, Status.DeadlineExceeded)
  }
}

/** Forgets a thread's waits and what it did not take; its tickets are closed by the caller. */
export function forgetWaits(state: RouterState, thread: number): void {
  state.waits.forgetAnswers(thread)
  for (const service of state.waits.services()) state.waits.leave(service, (waiter) => waiter.thread === thread)
}

/** When a queue of this length will be empty if requests go on ending as they do. */
function drainTimeMs(state: RouterState, membership: Membership, length: number): number {
  const inFlight = membership.members.reduce((sum, { handle }) => sum + state.cells.get(handle, Word.InFlight), 0)
  return clampAdvice((length * membership.service.typicalLatencyUs) / Math.max(inFlight, 1) / 1_000)
}
