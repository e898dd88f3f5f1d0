/** Waiting for a place when every instance is at its limit. As `impl Router` in `crates/routing/src/waits.rs`. */
import { type Backpressure, type Handle, type Qos, Status, type Ticket, InstanceWord as Word } from '../../contract.js'
import type { Membership } from './membership.js'
import { clampAdvice, noPick, type Picked, pickFrom, type Request } from './pick.js'
import { mayWait } from './policy.js'
import { highMark, lowMark } from './policy-qos.js'
import { BY_URGENCY, type Rank } from './qos.js'
import type { RouterState } from './state.js'
import type { Grant, Waiter } from './waits.js'

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

/** Queues for the next place: the most urgent class first, within one first come first served. */
export function wait(
  state: RouterState,
  service: Handle,
  keyHash: number,
  qos: Qos,
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
  const { queueLimit: limit, backpressure } = membership.policy
  const rank = membership.classOf(qos)
  const length = waits.length(service)
  // Not counted as shed: the refusal of the `pick` before was. Also of who knows an older policy.
  if (!mayWait(membership.policy)) {
    const message = 'requests do not wait for this service'
    return { status: Status.Saturated, retryAfterMs: drainTimeMs(state, membership, 1), message }
  }
  if (length >= limit) {
    const retryAfterMs = drainTimeMs(state, membership, length)
    const shed = toShed(state, service, rank, backpressure)
    membership.service.countShed(shed?.class ?? rank)
    if (shed === undefined) {
      const message = `${limit} requests wait for this service already`
      return { status: Status.QueueFull, retryAfterMs, message }
    }
    waits.remove(service, shed)
    waits.refuse(shed, Status.QueueFull, retryAfterMs)
  }
  if (waits.firstOf(service, rank) === undefined) {
    const picked = noPick()
    const request = { service, membership, keyHash, class: rank, thread, nowUs }
    const result = pickFrom(state, request, waits.rng, picked)
    if (typeof result === 'number') {
      const id = waits.nextId()
      waits.answer(thread, granted(id, result, picked))
      waits.wakeLater(thread)
      mark(state, membership, service, nowUs)
      return { id, granted: true }
    }
    const { status, retryAfterMs, eligibleAtUs } = result
    if (status !== Status.Saturated) {
      mark(state, membership, service, nowUs)
      return { status, retryAfterMs, message: 'no instance of this service will have a free place soon' }
    }
    waits.firstChanceUs = Math.min(waits.firstChanceUs, eligibleAtUs)
  }
  const id = waits.nextId()
  const deadlineUs = nowUs + Math.ceil(timeoutMs * 1_000)
  waits.firstDeadlineUs = Math.min(waits.firstDeadlineUs, deadlineUs)
  waits.enqueue(service, { id, keyHash, thread, class: rank, deadlineUs })
  mark(state, membership, service, nowUs)
  return { id, granted: false }
}

/** Who has to go for a request of this class in a full queue. */
function toShed(state: RouterState, service: Handle, rank: Rank, backpressure: Backpressure): Waiter | undefined {
  const { waits } = state
  const lowest = waits.lowest(service)
  if (lowest === undefined) return undefined
  if (backpressure === 'drop-oldest' && lowest <= rank) return waits.firstOf(service, lowest)
  if (backpressure === 'shed-lowest' && lowest < rank) return waits.newestOf(service, lowest)
  return undefined
}

function granted(waitId: number, result: Ticket, { instance, thread }: Picked): Grant {
  return { waitId, result, retryAfterMs: 0, instance, thread }
}

/** Leaves the queue. False when the answer is under way. */
export function waitCancel(state: RouterState, waitId: number, nowUs: number): boolean {
  const service = state.waits.serviceOf(waitId)
  if (service === undefined) return false
  const left = state.waits.leave(service, (waiter) => waiter.id === waitId)
  leftQueue(state, service, left.length, nowUs)
  return true
}

/** Notes when the queue passes one of its watermarks. */
function mark(state: RouterState, { policy, service: known }: Membership, service: Handle, nowUs: number): void {
  const { queueLimit: limit, watermarks } = policy
  const queued = state.waits.length(service)
  const passed = known.pressed ? queued <= lowMark(watermarks, limit) : queued >= highMark(watermarks, limit)
  if (!passed) return
  known.pressed = !known.pressed
  const level = known.pressed ? 'high' : 'low'
  state.note({ atUs: nowUs, service, what: { kind: 'backpressure', level, queued, limit } })
}

function leftQueue(state: RouterState, service: Handle, count: number, nowUs: number): void {
  const membership = state.memberships.get(service)
  if (count > 0 && membership !== undefined) mark(state, membership, service, nowUs)
}

/**
 * Gives places to those who wait as long as there are any, the most urgent class first. The threads to wake, in the order
 * of grants.
 */
export function grant(state: RouterState, membership: Membership, service: Handle, nowUs: number): number[] {
  const threads: number[] = []
  for (const rank of BY_URGENCY) {
    const refused = grantClass(state, membership, service, rank, nowUs, threads)
    // What one class was refused another may have, if it is let in further.
    if (refused && !membership.hasShares) break
  }
  if (threads.length > 0) mark(state, membership, service, nowUs)
  return threads
}

/** The same for one class. True when one of it found no place. */
function grantClass(
  state: RouterState,
  membership: Membership,
  service: Handle,
  rank: Rank,
  nowUs: number,
  threads: number[],
): boolean {
  const { waits } = state
  for (;;) {
    const waiter = waits.firstOf(service, rank)
    if (waiter === undefined) return false
    const { id, keyHash, thread } = waiter
    const picked = noPick()
    const request: Request = { service, membership, keyHash, class: rank, thread, nowUs }
    const result = pickFrom(state, request, waits.rng, picked)
    if (typeof result !== 'number') {
      waits.firstChanceUs = Math.min(waits.firstChanceUs, result.eligibleAtUs)
      return true
    }
    waits.remove(service, waiter)
    waits.answer(thread, granted(id, result, picked))
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
    leftQueue(state, service, over.length, nowUs)
  }
}

/** Forgets a thread's waits and what it did not take; its tickets are closed by the caller. */
export function forgetWaits(state: RouterState, thread: number, nowUs: number): void {
  state.waits.forgetAnswers(thread)
  for (const service of state.waits.services()) {
    const left = state.waits.leave(service, (waiter) => waiter.thread === thread)
    leftQueue(state, service, left.length, nowUs)
  }
}

/** When a queue of this length will be empty if requests go on ending as they do. */
function drainTimeMs(state: RouterState, membership: Membership, length: number): number {
  const inFlight = membership.members.reduce((sum, { handle }) => sum + state.cells.get(handle, Word.InFlight), 0)
  return clampAdvice((length * membership.service.typicalLatencyUs) / Math.max(inFlight, 1) / 1_000)
}
