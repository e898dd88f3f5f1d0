/**
 * Outstanding work by id, without a map: a slab with a free list. The id holds slot and generation, so an answer that
 * comes after its request was given up finds nothing.
 */
import { errorOf } from '../errors.js'
import { idOf, MAX_SLOTS, slotOfId } from './frame.js'

export class Slots<T extends { requestId: number }> {
  readonly #entries: (T | undefined)[] = []
  readonly #generations: number[] = []
  readonly #free: number[] = []
  readonly #limit: number
  readonly #what: string
  size = 0

  /** `what`: who is too many when the slab is full. */
  constructor(what: string, limit: number = MAX_SLOTS) {
    this.#what = what
    this.#limit = limit
  }

  /** Gives the entry its request id. `LM_SATURATED` when there are too many. */
  add(entry: T): void {
    let slot = this.#free.pop()
    if (slot === undefined) {
      slot = this.#entries.length
      if (slot >= this.#limit)
        throw errorOf('LM_SATURATED', `too many ${this.#what} are outstanding`, { limit: this.#limit })
      this.#entries.push(undefined)
      this.#generations.push(0)
    }
    // Generation 0 is skipped: an id is never 0.
    const generation = ((this.#generations[slot] as number) % 0xfff) + 1
    this.#generations[slot] = generation
    this.#entries[slot] = entry
    entry.requestId = idOf(slot, generation)
    this.size++
  }

  get(id: number): T | undefined {
    const entry = this.#entries[slotOfId(id)]
    return entry !== undefined && entry.requestId === id ? entry : undefined
  }

  remove(entry: T): void {
    const slot = slotOfId(entry.requestId)
    if (this.#entries[slot] !== entry) return
    this.#entries[slot] = undefined
    this.#free.push(slot)
    entry.requestId = 0
    this.size--
  }

  /** Those that match, in no order. */
  filter(wanted: (entry: T) => boolean): T[] {
    return this.#entries.filter((entry): entry is T => entry !== undefined && wanted(entry))
  }
}
