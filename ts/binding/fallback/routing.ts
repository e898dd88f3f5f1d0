/**
 * Routes requests to instances on one thread: {@link FallbackRouter}, to the number what `crates/routing` does.
 *
 * Same draws from the same generators, same arithmetic in the same order, same events, same handles and tickets. The
 * parts are in `routing/`, one file for each of the crate's. Deliberately absent: atomics, locks, clocks and timers;
 * time and randomness are passed in.
 */
import {
  type ControlOrder,
  type Handle,
  Outcome,
  type Qos,
  type RecordedPick,
  Status,
  type Ticket,
  type Views,
} from '../contract.js'
import type { MetricCollector } from './metrics-collector.js'
import type { Exemplar } from './metrics-exemplar.js'
import type { Rng } from './random.js'
import type { FallbackConnections } from './registry-connections.js'
import * as administer from './routing/administer.js'
import { backoffMs } from './routing/budget.js'
import { close } from './routing/complete.js'
import { control } from './routing/control.js'
import { explanationOf, othersOf } from './routing/explanation.js'
import * as housekeeping from './routing/housekeeping.js'
import { collectMetrics, instanceInfoOf, serviceInfoOf, serviceListOf } from './routing/info.js'
import { type Entered, orderEnter, orderLeave } from './routing/key-order.js'
import { type Begun, ledgerBegin, ledgerForget, ledgerResult, ledgerSettle } from './routing/ledger.js'
import { hedge, hedgeAfter } from './routing/hedge.js'
import { noteRefusal, type Picked, pickFrom, type Request } from './routing/pick.js'
import { grant, type Waiting, type WaitRefused, wait, waitCancel } from './routing/queue.js'
import { type RouterOptions, RouterState } from './routing/state.js'
import type { Grant } from './routing/waits.js'

export { noPick, type Picked } from './routing/pick.js'
export type { Waiting, WaitRefused } from './routing/queue.js'
export type { RouterOptions } from './routing/state.js'
export type { Grant } from './routing/waits.js'

/** What followed from completing a request. */
export interface Completed {
  /** A waiting request of this thread got the place: wake the thread. */
  grantedThread: number | undefined
  /** Waiting requests of other threads got places, too: {@link FallbackRouter.tick} says which. */
  more: boolean
}

function forget(out: Picked): void {
  out.instance = 0
  out.thread = 0
  out.retryAfterMs = 0
  out.probe = false
}

/** Outcomes by number: 0 to this. */
const LAST_OUTCOME = 6

/**
 * The router of one mesh. Cold calls throw refusals that carry status, field and limit; hot ones return negative
 * statuses. Times are microseconds on the mesh's clock, which may step back: then nothing ages until it has caught up.
 */
export class FallbackRouter {
  readonly #state: RouterState

  constructor(options: RouterOptions) {
    this.#state = new RouterState(options)
  }

  /** Name of the mesh. */
  get name(): string {
    return this.#state.options.name
  }

  /** Words of header and instances, changed in place; layouts `HeaderWord` and `InstanceWord`. */
  get views(): Views {
    return { header: this.#state.header, instances: this.#state.cells.words }
  }

  /** The connections of this mesh: bookkeeping only, nothing is routed by it. */
  connections(): FallbackConnections {
    return this.#state.connections
  }

  // --- services and instances -------------------------------------------------------------------------------------

  /** Defines a service, or finds the one of that name. `policy`: JSON; empty leaves it as it is. */
  defineService(name: string, policy: string, nowUs: number): Handle {
    return administer.defineService(this.#state, name, policy, nowUs)
  }

  findService(name: string): Handle | undefined {
    return this.#state.registry.find(name)
  }

  /** Removes a service and its instances; who waits for it is told `NotFound`. */
  removeService(service: Handle, nowUs: number): void {
    administer.removeService(this.#state, service, nowUs)
  }

  /** Adds an instance. `spec`: JSON. `thread`: where it lives when it has no address. */
  addInstance(service: Handle, spec: string, thread: number, nowUs: number): Handle {
    return administer.addInstance(this.#state, service, spec, thread, nowUs)
  }

  /** Changes an instance. `patch`: JSON. */
  updateInstance(instance: Handle, patch: string, nowUs: number): void {
    administer.updateInstance(this.#state, instance, patch, nowUs)
  }

  /** Removes an instance. Requests under way on it can still be completed. */
  removeInstance(instance: Handle, nowUs: number): void {
    administer.removeInstance(this.#state, instance, nowUs)
  }

  /** Extends the lease of an instance: it ends `leaseMs` from now. */
  renew(instance: Handle, leaseMs: number, nowUs: number): void {
    administer.renew(this.#state, instance, leaseMs, nowUs)
  }

  /** Carries out an operator's order about an instance. Requests under way on it go on. */
  control(instance: Handle, order: ControlOrder, forMs: number, nowUs: number): void {
    control(this.#state, instance, order, forMs, nowUs)
  }

  /** A thread is gone: its instances are removed, the tickets it held end as Cancelled, its waits are dropped. */
  threadEnded(thread: number, nowUs: number): void {
    housekeeping.threadEnded(this.#state, thread, nowUs)
  }

  // --- requests ---------------------------------------------------------------------------------------------------

  /** Picks an instance for one request and reserves a place on it. `out` also says when to come back. */
  pick(
    rng: Rng,
    service: Handle,
    keyHash: number,
    qos: Qos,
    thread: number,
    nowUs: number,
    out: Picked,
  ): Ticket | Status {
    forget(out)
    const request = this.#request(service, keyHash, qos, thread, nowUs)
    if (request === undefined) return Status.StaleHandle
    const result = pickFrom(this.#state, request, rng, out)
    if (typeof result === 'number') return result
    out.retryAfterMs = result.retryAfterMs
    noteRefusal(request.membership, request.class, result)
    return result.status
  }

  /** How long to wait for an answer before a second instance is asked, microseconds; undefined: it is not. */
  hedgeAfter(service: Handle, qos: Qos, nowUs: number): number | undefined {
    const membership = this.#state.memberships.get(service)
    return membership === undefined ? undefined : hedgeAfter(membership, qos, nowUs)
  }

  /** A second instance for a request that `first` has not answered: a ticket, or why not. */
  hedge(
    rng: Rng,
    service: Handle,
    first: Handle,
    qos: Qos,
    thread: number,
    nowUs: number,
    out: Picked,
  ): Ticket | Status {
    forget(out)
    const request = this.#request(service, 0, qos, thread, nowUs)
    return request === undefined ? Status.StaleHandle : hedge(this.#state, request, first, rng, out)
  }

  #request(service: Handle, keyHash: number, qos: Qos, thread: number, nowUs: number): Request | undefined {
    const membership = this.#state.memberships.get(service)
    return membership && { service, membership, keyHash, class: membership.classOf(qos), thread, nowUs }
  }

  /**
   * Ends a request: its place is free, and the router learns how it went. Fractions of ticket and latency are cut off;
   * `latencyUs` negative: the time since the pick. The place goes to the first that waits.
   */
  complete(ticket: Ticket, outcome: Outcome, latencyUs: number, nowUs: number, out?: Completed): 0 | Status {
    if (out !== undefined) {
      out.grantedThread = undefined
      out.more = false
    }
    if (!(Number.isInteger(outcome) && outcome >= 0 && outcome <= LAST_OUTCOME)) return Status.InvalidArgument
    return this.#end(close(this.#state, Math.trunc(ticket), outcome, Math.trunc(latencyUs), 0, nowUs), nowUs, out)
  }

  /** The same with `Rejected`, when the instance said for how long. */
  completeRejected(ticket: Ticket, latencyUs: number, retryAfterMs: number, nowUs: number, out: Completed): 0 | Status {
    out.grantedThread = undefined
    out.more = false
    const closed = [Math.trunc(ticket), Outcome.Rejected, Math.trunc(latencyUs)] as const
    return this.#end(close(this.#state, ...closed, retryAfterMs, nowUs), nowUs, out)
  }

  /** The ticket of a request to `service` was closed: its place goes to who waits. */
  #end(service: Handle | undefined, nowUs: number, out: Completed | undefined): 0 | Status {
    if (service === undefined) return Status.StaleTicket
    const membership = this.#state.memberships.get(service)
    const { waits } = this.#state
    if (membership === undefined || !waits.queues.has(service)) return 0
    const threads = grant(this.#state, membership, service, nowUs)
    const first = threads[0]
    for (const thread of threads) if (thread !== first) waits.wakeLater(thread)
    if (out !== undefined) {
      out.grantedThread = first
      out.more = waits.hasWakes
    }
    return 0
  }

  /** After `pick` said Saturated: queues for the next place. The answer comes by {@link takeGrants}. */
  wait(
    service: Handle,
    keyHash: number,
    qos: Qos,
    thread: number,
    timeoutMs: number,
    nowUs: number,
  ): Waiting | WaitRefused {
    return wait(this.#state, service, keyHash, qos, thread, timeoutMs, nowUs)
  }

  /** Leaves the queue. False when the answer is under way: it must still be taken, and a ticket completed. */
  waitCancel(waitId: number, nowUs: number): boolean {
    return waitCancel(this.#state, waitId, nowUs)
  }

  /** Up to `most` answers for `thread`. */
  takeGrants(thread: number, most: number): Grant[] {
    return this.#state.waits.take(thread, most)
  }

  /**
   * Takes one token of the service's retry budget: backoff with jitter in milliseconds before attempt `attempt` (1 =
   * first retry), or -1 when the policy or the budget does not allow it or the service is gone.
   */
  retry(service: Handle, attempt: number, rng: Rng, nowUs: number): number {
    const membership = this.#state.memberships.get(service)
    if (membership === undefined) return -1
    const { retry } = membership.policy
    if (attempt === 0 || attempt > retry.limit) return -1
    const { budget, picks } = membership.service
    return budget.take(retry, picks, nowUs) ? backoffMs(retry, attempt, rng) : -1
  }

  /** Enters the turn of `key` among the requests to a service. */
  orderEnter(service: Handle, key: string, thread: number): Entered {
    return orderEnter(this.#state, service, key, thread)
  }

  /** Leaves a turn, or the queue for it; the thread whose turn has come. */
  orderLeave(service: Handle, key: string, id: number, broken: boolean): number | undefined {
    return orderLeave(this.#state, service, key, id, broken)
  }

  /** Asks what a request with an idempotency key has to do. */
  ledgerBegin(service: Handle, key: string, thread: number, nowUs: number): Begun {
    return ledgerBegin(this.#state, service, key, thread, nowUs)
  }

  /** What the first request with this key was answered, while it is remembered. */
  ledgerResult(service: Handle, key: string): Uint8Array | null {
    return ledgerResult(this.#state, service, key)
  }

  /** The first request has its answer; the threads to wake. */
  ledgerSettle(service: Handle, key: string, id: number, result: Uint8Array, nowUs: number): number[] {
    return ledgerSettle(this.#state, service, key, id, result, nowUs)
  }

  /** The first request has no answer that should be remembered; the threads to wake. */
  ledgerForget(service: Handle, key: string, id: number): number[] {
    return ledgerForget(this.#state, service, key, id)
  }

  // --- time -------------------------------------------------------------------------------------------------------

  /** Does what is due by now: leases, waits, tickets that nobody completed. Returns the threads to wake. */
  tick(nowUs: number): number[] {
    return housekeeping.tick(this.#state, nowUs)
  }

  /** When {@link tick} is due next, microseconds; 0 = now. Undefined: nothing will come of time alone. */
  nextDeadline(): number | undefined {
    return housekeeping.nextDeadline(this.#state)
  }

  // --- JSON -------------------------------------------------------------------------------------------------------

  /** The contract's `ServiceInfo`. */
  serviceInfoJson(service: Handle, nowUs: number): string {
    return JSON.stringify(serviceInfoOf(this.#state, service, nowUs))
  }

  /** Every `ServiceInfo`, by name. */
  serviceListJson(nowUs: number): string {
    return JSON.stringify(serviceListOf(this.#state, nowUs))
  }

  /** The contract's `InstanceInfo`. */
  instanceInfoJson(instance: Handle, nowUs: number): string {
    return JSON.stringify(instanceInfoOf(this.#state, instance, nowUs))
  }

  /** Adds what the router knows to a scrape. */
  collectMetrics(out: MetricCollector): void {
    collectMetrics(this.#state, out)
  }

  /** Says which request of a service a latency came from. False: there is no such service. */
  exemplify(service: Handle, exemplar: Exemplar): boolean {
    const membership = this.#state.memberships.get(service)
    membership?.service.latencies.exemplify(exemplar)
    return membership !== undefined
  }

  /** Why a ticket's instance was picked; undefined when the pick is not among the last 1,024. */
  explainJson(ticket: Ticket, nowUs: number): string | undefined {
    const { explained, registry, memberships, cells } = this.#state
    const decision = explained.find(Math.trunc(ticket))
    if (decision === undefined) return undefined
    const service = registry.service(decision.service)
    const others = othersOf(decision, memberships.get(decision.service), cells, nowUs)
    return JSON.stringify(explanationOf(decision, service?.name ?? '', others))
  }

  /** The latest picks of services that are still there, oldest first. */
  recordedPicksJson(): string {
    const { registry, explained } = this.#state
    const picks: RecordedPick[] = explained.recorded().flatMap(({ service, atUs, keyHash, chosen }) => {
      const name = registry.service(service)?.name
      return name === undefined ? [] : [{ service: name, atUs, keyHash, instance: chosen }]
    })
    return JSON.stringify(picks)
  }

  /** Registry and breaker changes after `sequence`. */
  eventsJson(sequence: number): string {
    this.#state.logChanges()
    return JSON.stringify(this.#state.registry.eventsSince(sequence))
  }

  /** Ranked services that fit a query. `nowUs` is asked while it works, for the query's deadline. */
  discoverJson(query: string, nowUs: () => number): string {
    this.#state.logChanges()
    const { discovery, options, load } = this.#state
    return JSON.stringify(discovery.discover(query, options.zone, load, nowUs))
  }
}
