/** Handles of the registry: `generation << 17 | slot`, given out in the order of `crates/registry/src/handle.rs`. */
import type { Handle } from '../contract.js'
import { tooMany } from './registry-validate.js'

const SLOT_BITS = 17
const SLOT_MASK = 2 ** SLOT_BITS - 1
const GENERATIONS = 2 ** 14
/** A freed slot rests until this many others were freed after it, unless the slots run out first. */
const REST = 1_024

/** Slot of a handle: an index below 131,072. */
export function slotOf(handle: Handle): number {
  return handle & SLOT_MASK
}

/** Gives out handles in an order that depends on the calls alone. */
export class HandleAllocator {
  readonly #capacity: number
  readonly #generations: number[] = []
  /** Oldest first, from `#head` on. */
  #free: number[] = []
  #head = 0

  constructor(capacity: number) {
    this.#capacity = Math.min(capacity, SLOT_MASK + 1)
  }

  /** A handle that is not in use. `field` names what there are too many of. */
  allocate(field: string): Handle {
    let slot: number
    if (this.#generations.length < this.#capacity && this.#free.length - this.#head < REST) {
      slot = this.#generations.push(0) - 1
    } else {
      const oldest = this.#free[this.#head]
      if (oldest === undefined) throw tooMany(field, this.#capacity, 'entries at one time')
      slot = oldest
      this.#head += 1
      if (this.#head === this.#free.length) {
        this.#free = []
        this.#head = 0
      } else if (this.#head > REST && this.#head * 2 > this.#free.length) {
        this.#free = this.#free.slice(this.#head)
        this.#head = 0
      }
    }
    const next = (this.#generations[slot] ?? 0) + 1
    const generation = next === GENERATIONS ? 1 : next
    this.#generations[slot] = generation
    return generation * (SLOT_MASK + 1) + slot
  }

  /** Gives a handle back. The caller has checked that it is in use. */
  free(handle: Handle): void {
    this.#free.push(slotOf(handle))
  }
}
