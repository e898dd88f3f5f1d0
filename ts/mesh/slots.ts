/**
 * Outstanding requests by id, without a map: a slab with a free list. The id holds slot and generation, so an answer
 * that comes after its request was given up finds nothing.
 */
import { errorOf } from '../errors.js'
import type { Call } from './call.js'
import { idOf, MAX_SLOTS, slotOfId } from './frame.js'

export class CallSlots {
  readonly #calls: (Call | undefined)[] = []
  readonly #generations: number[] = []
  readonly #free: number[] = []
  size = 0

  /** Gives the call its request id. */
  add(call: Call): void {
    let slot = this.#free.pop()
    if (slot === undefined) {
      slot = this.#calls.length
      if (slot >= MAX_SLOTS)
        throw errorOf('LM_SATURATED', 'too many requests to other threads are outstanding', { limit: MAX_SLOTS })
      this.#calls.push(undefined)
      this.#generations.push(0)
    }
    // Generation 0 is skipped: an id is never 0.
    const generation = ((this.#generations[slot] as number) % 0xfff) + 1
    this.#generations[slot] = generation
    this.#calls[slot] = call
    call.requestId = idOf(slot, generation)
    this.size++
  }

  get(id: number): Call | undefined {
    const call = this.#calls[slotOfId(id)]
    return call !== undefined && call.requestId === id ? call : undefined
  }

  remove(call: Call): void {
    const slot = slotOfId(call.requestId)
    if (this.#calls[slot] !== call) return
    this.#calls[slot] = undefined
    this.#free.push(slot)
    call.requestId = 0
    this.size--
  }

  /** Calls that are with this thread. */
  ofThread(thread: number): Call[] {
    return this.#calls.filter((call): call is Call => call !== undefined && call.thread === thread)
  }
}
