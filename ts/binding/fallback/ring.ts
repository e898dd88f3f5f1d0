/** Rings of byte records in one thread. Capacity counts as in the native ring: each record takes 4 bytes more. */
import { Status } from '../contract.js'

const HEADER_BYTES = 4
const MIN_BYTES = 64
const MAX_BYTES = 2 ** 28

export class FallbackRing {
  readonly #capacity: number
  #records: Uint8Array[] = []
  /** Index of the oldest record: shifting a long array copies it. */
  #first = 0
  #used = 0

  /** `capacityBytes` was checked by {@link ringCapacity}. */
  constructor(capacity: number) {
    this.#capacity = capacity
  }

  get length(): number {
    return this.#records.length - this.#first
  }

  push(record: unknown): 0 | Status {
    if (!(record instanceof Uint8Array)) return Status.InvalidArgument
    if (record.length > this.#capacity - HEADER_BYTES) return Status.LimitExceeded
    const needed = record.length + HEADER_BYTES
    if (this.#used + needed > this.#capacity) return Status.RingFull
    this.#records.push(Uint8Array.from(record))
    this.#used += needed
    return 0
  }

  pop(out: unknown): number {
    if (!(out instanceof Uint8Array)) return Status.InvalidArgument
    const record = this.#records[this.#first]
    if (record === undefined) return Status.NoMatch
    if (record.length > out.length) return Status.LimitExceeded
    out.set(record)
    this.#used -= record.length + HEADER_BYTES
    this.#first++
    if (this.#first > 1_024 && this.#first * 2 > this.#records.length) {
      this.#records = this.#records.slice(this.#first)
      this.#first = 0
    }
    return record.length
  }
}

/** The power of two that holds so many bytes, or undefined outside the limits. */
export function ringCapacity(bytes: number): number | undefined {
  if (bytes < MIN_BYTES || bytes > MAX_BYTES) return undefined
  return 2 ** Math.ceil(Math.log2(bytes))
}
