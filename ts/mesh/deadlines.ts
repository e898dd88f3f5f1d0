/**
 * One coarse timer for all deadlines of a thread: a hashed timer wheel with intrusive entries.
 *
 * Adding and removing are a few pointer writes: no timer, closure or map entry per request. A deadline fires up to
 * {@link TICK_MS} late and never early. The timer is ref'd while the wheel has entries, so an outstanding request keeps
 * the process alive, and stops at the first tick that finds the wheel empty, so an idle mesh does not.
 */
import { nowMs } from './clock.js'

/** How late a deadline may fire, besides the event loop's own delays. */
export const TICK_MS = 5
const BUCKETS = 1024

/**
 * What can wait in the wheel. The fields are the wheel's; they begin as undefined, undefined and -1. An interface, so
 * that a request is one object made by one constructor.
 */
export interface DeadlineEntry {
  /** Milliseconds on the process clock; Infinity waits (and keeps the process alive) without ever firing. */
  deadline: number
  wheelNext: DeadlineEntry | undefined
  wheelPrevious: DeadlineEntry | undefined
  /** Bucket index, or -1 when not in the wheel. */
  wheelBucket: number
  onDeadline(): void
}

export class DeadlineWheel {
  #heads: (DeadlineEntry | undefined)[] = new Array(BUCKETS).fill(undefined)
  #size = 0
  #timer: NodeJS.Timeout | undefined
  #running = false
  /** Last tick that was handled. */
  #tick = 0

  get size(): number {
    return this.#size
  }

  add(entry: DeadlineEntry): void {
    this.put(entry)
    this.wind()
  }

  /** Adds without starting the timer: whoever calls this calls {@link wind} soon. */
  put(entry: DeadlineEntry): void {
    if (entry.wheelBucket >= 0) return
    // Rounded up: firing early would break the promise that the caller was given.
    let tick = Math.ceil(entry.deadline / TICK_MS)
    if (tick <= this.#tick) tick = this.#tick + 1
    const bucket = tick === Number.POSITIVE_INFINITY ? 0 : tick % BUCKETS
    const head = this.#heads[bucket]
    entry.wheelBucket = bucket
    entry.wheelNext = head
    entry.wheelPrevious = undefined
    if (head !== undefined) head.wheelPrevious = entry
    this.#heads[bucket] = entry
    this.#size++
  }

  /** Starts the timer when something waits. */
  wind(): void {
    if (this.#running || this.#size === 0) return
    this.#running = true
    // The first turn looks into every bucket: an entry may have been due before the timer was started.
    this.#tick = Math.floor(nowMs() / TICK_MS) - BUCKETS
    if (this.#timer === undefined) this.#timer = setTimeout(() => this.#turn(), TICK_MS)
    else this.#timer.refresh()
  }

  remove(entry: DeadlineEntry): void {
    const bucket = entry.wheelBucket
    if (bucket < 0) return
    const { wheelNext: next, wheelPrevious: previous } = entry
    if (previous === undefined) this.#heads[bucket] = next
    else previous.wheelNext = next
    if (next !== undefined) next.wheelPrevious = previous
    entry.wheelNext = undefined
    entry.wheelPrevious = undefined
    entry.wheelBucket = -1
    this.#size--
  }

  /** All that waits, in no order. */
  entries(): DeadlineEntry[] {
    const found: DeadlineEntry[] = []
    for (const head of this.#heads)
      for (let entry = head; entry !== undefined; entry = entry.wheelNext) found.push(entry)
    return found
  }

  /** Forgets everything without firing. */
  stop(): void {
    this.#heads.fill(undefined)
    this.#size = 0
    this.#running = false
    clearTimeout(this.#timer)
  }

  #turn(): void {
    if (!this.#running) return
    const now = nowMs()
    const target = Math.floor(now / TICK_MS)
    // After a long pause each bucket needs one look, not one per missed tick.
    const first = Math.max(this.#tick + 1, target - BUCKETS + 1)
    this.#tick = target
    for (let tick = first; tick <= target; tick++) this.#sweep(tick % BUCKETS, now)
    if (this.#size === 0) this.#running = false
    else this.#timer?.refresh()
  }

  #sweep(bucket: number, now: number): void {
    // Collected first: a callback may add and remove entries of this very bucket.
    let due: DeadlineEntry[] | undefined
    for (let entry = this.#heads[bucket]; entry !== undefined; entry = entry.wheelNext) {
      if (entry.deadline <= now) {
        due ??= []
        due.push(entry)
      }
    }
    if (due === undefined) return
    for (const entry of due) this.remove(entry)
    for (const entry of due) entry.onDeadline()
  }
}
