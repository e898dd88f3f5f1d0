/**
 * Memory for received bodies.
 *
 * V8 keeps arrays of at most 64 bytes in its own heap and asks the C allocator for each longer one, which costs more than
 * the request's whole way over a lane, there and at collection. So short bodies lie one after the other in a slab, as those
 * of a `Buffer` do in Node's pool, and a body is a view on it. No byte of a slab is given out twice.
 *
 * What follows for whoever keeps a body: it keeps its slab, 16 KiB, so at most 252 times its own length (Node's pool: 8,192
 * times). Its `buffer` holds other bodies, too: read it by `byteOffset` and `byteLength`, as a `Buffer`. A slab cannot be
 * transferred to another thread, so nobody takes the bodies of others along. `body.slice()` is memory of its own.
 */
import { markAsUntransferable } from 'node:worker_threads'

/** Of one slab. */
export const SLAB_BYTES = 16 << 10
/** A longer body would leave too much of a slab unused, and pays for its own memory by its length. */
export const SLAB_BODY_BYTES = SLAB_BYTES >>> 2
/** What V8 keeps in its own heap. */
const HEAP_BYTES = 64

export class BodySlab {
  #slab = new ArrayBuffer(0)
  #next = SLAB_BYTES

  /** A copy of the bytes of `memory` from `start` to `end`; begins at a multiple of eight bytes of its buffer. */
  copy(memory: Uint8Array, start: number, end: number): Uint8Array {
    const length = end - start
    if (length <= HEAP_BYTES || length > SLAB_BODY_BYTES) return memory.slice(start, end)
    if (length > SLAB_BYTES - this.#next) {
      this.#slab = new ArrayBuffer(SLAB_BYTES)
      markAsUntransferable(this.#slab)
      this.#next = 0
    }
    const body = new Uint8Array(this.#slab, this.#next, length)
    this.#next = (this.#next + length + 7) & ~7
    // A view by its constructor: `subarray` looks for its species first.
    body.set(new Uint8Array(memory.buffer, memory.byteOffset + start, length))
    return body
  }
}
