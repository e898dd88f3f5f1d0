/** Things of one thread by handle: `generation << 17 | slot`, as the contract says. */

const SLOT_BITS = 17
const SLOTS = 1 << SLOT_BITS
const GENERATIONS = 1 << 14

interface Entry<T> {
  generation: number
  value: T | undefined
}

/** Slots with generations. Every operation is O(1). A handle that is stale, forged or 0 finds nothing. */
export class Slots<T extends object> {
  readonly #entries: Entry<T>[] = []
  readonly #free: number[] = []

  /** A new handle, or `undefined` when 131,072 are in use. */
  insert(value: T): number | undefined {
    const slot = this.#free.pop() ?? this.#entries.length
    if (slot === SLOTS) return undefined
    const entry = this.#entries[slot] ?? { generation: 0, value: undefined }
    // 0 is never a generation, so 0 is never a handle.
    entry.generation = (entry.generation + 1) % GENERATIONS || 1
    entry.value = value
    this.#entries[slot] = entry
    return entry.generation * SLOTS + slot
  }

  get(handle: number): T | undefined {
    const word = handle >>> 0
    const entry = this.#entries[word & (SLOTS - 1)]
    return entry !== undefined && entry.generation === word >>> SLOT_BITS ? entry.value : undefined
  }

  remove(handle: number): T | undefined {
    const value = this.get(handle)
    if (value === undefined) return undefined
    const slot = (handle >>> 0) & (SLOTS - 1)
    const entry = this.#entries[slot]
    if (entry !== undefined) entry.value = undefined
    this.#free.push(slot)
    return value
  }
}
