/** Who waits for what, and what was granted and not yet taken. As `Waits` in `crates/routing/src/waits.rs`. */
import type { Handle, Status, Ticket } from '../../contract.js'
import type { Rng } from '../random.js'
import { RANKS, type Rank } from './qos.js'

/** 31 bits: a positive small integer. */
const LAST_ID = 2 ** 31 - 1

/** The answer to a wait. */
export interface Grant {
  /** Which wait. */
  readonly waitId: number
  /** A real ticket with its place taken, or why there is none: `DeadlineExceeded`, `NotFound`. */
  readonly result: Ticket | Status
  /** When refused: when it is worth trying again, milliseconds; 0 = unknown. */
  readonly retryAfterMs: number
  /** Handle of the instance; 0 when refused. */
  readonly instance: Handle
  /** Thread of the instance; 0 for one by address. */
  readonly thread: number
}

export interface Waiter {
  readonly id: number
  readonly keyHash: number
  readonly thread: number
  readonly class: Rank
  readonly deadlineUs: number
}

export class Waits {
  readonly rng: Rng
  /** By service, in the order of their coming. None is empty. */
  readonly queues = new Map<Handle, Waiter[]>()
  /** No wait times out before, microseconds. */
  firstDeadlineUs = Number.POSITIVE_INFINITY
  /** When time alone makes an instance eligible that somebody waits for, microseconds. */
  firstChanceUs = Number.POSITIVE_INFINITY
  #lastId = 0
  /** Service of each waiting request. */
  readonly #waiting = new Map<number, Handle>()
  /** By thread. */
  readonly #grants = new Map<number, Grant[]>()
  /** Threads that have grants and were not told. */
  readonly #wakes = new Set<number>()

  constructor(rng: Rng) {
    this.rng = rng
  }

  /** A number that no waiting request has, never 0. */
  nextId(): number {
    do this.#lastId = this.#lastId >= LAST_ID ? 1 : this.#lastId + 1
    while (this.#waiting.has(this.#lastId))
    return this.#lastId
  }

  /** Requests that wait for a service. */
  length(service: Handle): number {
    return this.queues.get(service)?.length ?? 0
  }

  /** Last in its queue. */
  enqueue(service: Handle, waiter: Waiter): void {
    this.#waiting.set(waiter.id, service)
    const queue = this.queues.get(service)
    if (queue === undefined) this.queues.set(service, [waiter])
    else queue.push(waiter)
  }

  /** The first of a class. */
  firstOf(service: Handle, rank: Rank): Waiter | undefined {
    return this.queues.get(service)?.find((waiter) => waiter.class === rank)
  }

  /** The newest of a class. */
  newestOf(service: Handle, rank: Rank): Waiter | undefined {
    return this.queues.get(service)?.findLast((waiter) => waiter.class === rank)
  }

  /** The class that is shed first of those that wait. */
  lowest(service: Handle): Rank | undefined {
    return RANKS.find((rank) => this.firstOf(service, rank) !== undefined)
  }

  /** The service that a request waits for; undefined when it does not wait. */
  serviceOf(waitId: number): Handle | undefined {
    return this.#waiting.get(waitId)
  }

  /** Takes one out of its queue. */
  remove(service: Handle, waiter: Waiter): void {
    this.leave(service, (one) => one === waiter)
  }

  /** Takes all that `leaves` out of a queue; the lowest class first, within one in order. */
  leave(service: Handle, leaves: (waiter: Waiter) => boolean): Waiter[] {
    const queue = this.queues.get(service) ?? []
    const gone = queue.filter(leaves).sort((a, b) => a.class - b.class)
    const left = queue.filter((waiter) => !leaves(waiter))
    if (left.length === 0) this.queues.delete(service)
    else this.queues.set(service, left)
    for (const waiter of gone) this.#waiting.delete(waiter.id)
    return gone
  }

  /** Puts an answer where its thread takes it. */
  answer(thread: number, grant: Grant): void {
    const grants = this.#grants.get(thread)
    if (grants === undefined) this.#grants.set(thread, [grant])
    else grants.push(grant)
  }

  /** Answers a waiter that has left its queue; its thread is told at the next tick. */
  refuse(waiter: Waiter, status: Status, retryAfterMs = 0): void {
    this.answer(waiter.thread, { waitId: waiter.id, result: status, retryAfterMs, instance: 0, thread: 0 })
    this.wakeLater(waiter.thread)
  }

  /** Up to `most` answers for a thread. */
  take(thread: number, most: number): Grant[] {
    const grants = this.#grants.get(thread)
    if (grants === undefined) return []
    const taken = grants.splice(0, most)
    if (grants.length === 0) this.forgetAnswers(thread)
    return taken
  }

  /** Drops what a thread did not take; its tickets are closed by the caller. */
  forgetAnswers(thread: number): void {
    this.#grants.delete(thread)
    this.#wakes.delete(thread)
  }

  /** Tells the thread at the next tick. */
  wakeLater(thread: number): void {
    this.#wakes.add(thread)
  }

  get hasWakes(): boolean {
    return this.#wakes.size > 0
  }

  /** The threads to tell, in the order of their ids. */
  takeWakes(): number[] {
    const threads = [...this.#wakes].sort((a, b) => a - b)
    this.#wakes.clear()
    return threads
  }

  /** When a tick has something to do here, microseconds. */
  get nextDeadlineUs(): number {
    return this.hasWakes ? 0 : Math.min(this.firstDeadlineUs, this.firstChanceUs)
  }

  /** Services that somebody waits for, in a fixed order. */
  services(): Handle[] {
    return [...this.queues.keys()].sort((a, b) => a - b)
  }
}
