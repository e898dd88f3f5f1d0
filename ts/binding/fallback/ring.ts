/** `Ring` on one thread: a circular buffer of byte records, each behind its length. */
import { Status } from '../contract.js'
import { invalid, whole } from './edge.js'

/** Bytes that each record takes besides its own: its length. */
const HEADER_BYTES = 4
const MIN_BYTES = 64
const MAX_BYTES = 2 ** 28

/** A capacity within the limits, rounded up to a power of two; refused also when the ring exists and it does not matter. */
export function ringCapacity(bytes: number): number {
  const capacity = whole(bytes, 'capacityBytes', MAX_BYTES)
  if (capacity < MIN_BYTES) throw invalid('capacityBytes', `capacityBytes is at least ${MIN_BYTES}`, MIN_BYTES)
  return 2 ** (32 - Math.clz32(capacity - 1))
}

/** Bounded first-in-first-out queue of byte records, copied in and out. Push and pop cost one copy. */
export class RingBuffer {
  /** 0: one producer and one consumer; 1: many. On one thread both behave alike. */
  readonly kind: 0 | 1
  readonly #bytes: Uint8Array
  /** Free-running positions: exact up to 2^53 bytes. */
  #head = 0
  #tail = 0
  #records = 0

  /** `capacity`: a {@link ringCapacity}. */
  constructor(kind: 0 | 1, capacity: number) {
    this.kind = kind
    this.#bytes = new Uint8Array(capacity)
  }

  /** Records in the ring. */
  get length(): number {
    return this.#records
  }

  /** 0, `RingFull`, or `LimitExceeded` for a record that would not fit an empty ring. */
  push(record: Uint8Array): 0 | Status {
    const needed = record.length + HEADER_BYTES
    if (needed > this.#bytes.length) return Status.LimitExceeded
    if (this.#tail - this.#head + needed > this.#bytes.length) return Status.RingFull
    for (let i = 0; i < HEADER_BYTES; i++) {
      this.#bytes[(this.#tail + i) % this.#bytes.length] = (record.length >>> (8 * i)) & 0xff
    }
    const start = (this.#tail + HEADER_BYTES) % this.#bytes.length
    const first = Math.min(record.length, this.#bytes.length - start)
    this.#bytes.set(record.subarray(0, first), start)
    this.#bytes.set(record.subarray(first), 0)
    this.#tail += needed
    this.#records++
    return 0
  }

  /** Length of the record moved to `out`, -1 when empty, `LimitExceeded` when `out` is too small (the record stays). */
  pop(out: Uint8Array): number {
    if (this.#head === this.#tail) return Status.NoMatch
    let length = 0
    for (let i = 0; i < HEADER_BYTES; i++)
      length |= (this.#bytes[(this.#head + i) % this.#bytes.length] ?? 0) << (8 * i)
    if (length > out.length) return Status.LimitExceeded
    const start = (this.#head + HEADER_BYTES) % this.#bytes.length
    const first = Math.min(length, this.#bytes.length - start)
    out.set(this.#bytes.subarray(start, start + first), 0)
    out.set(this.#bytes.subarray(0, length - first), first)
    this.#head += length + HEADER_BYTES
    this.#records--
    return length
  }
}
