/** A bounded queue of byte records between the threads of a process. */
import { Status } from '../binding/contract.js'
import { checkRecord, invalid, shown } from '../mesh/checks.js'
import { nameOf, TableHandle } from './handle.js'

export interface RingOptions {
  /** Shared by every thread of the process that opens this name; 1 to 256 bytes. */
  name?: string
  /** `spsc`: one thread pushes and one pops; a second one at the same time is refused. `mpmc`: any number of both. */
  kind: 'spsc' | 'mpmc'
  /** 64 to 2^28 bytes, rounded up to a power of two. Each record takes 4 bytes besides its own. */
  capacityBytes: number
}

const WHAT = 'Ring'
const BUSY = 'bytes is a Uint8Array, and one thread at a time is on this side of an spsc ring'

/**
 * First in, first out; records are copied in and out and arrive whole.
 *
 * Cost, native: one crossing and one copy each way. Nothing waits: `push` says when there is no room, `pop` when there
 * is no record.
 */
export class Ring implements Disposable {
  readonly #table: TableHandle
  /** Where `pop()` without an array of the caller reads to; grows to the longest record seen. */
  #buffer = new Uint8Array(256)

  constructor(options: RingOptions) {
    checkRecord(options, 'options')
    const { kind, capacityBytes } = options
    const name = nameOf(options.name)
    if (kind !== 'spsc' && kind !== 'mpmc') throw invalid('kind', `kind must be spsc or mpmc, not ${shown(kind)}`)
    if (typeof capacityBytes !== 'number') {
      throw invalid('capacityBytes', `capacityBytes must be a number, not ${shown(capacityBytes)}`)
    }
    this.#table = new TableHandle(WHAT, (binding) => binding.ringOpen(name, kind === 'spsc' ? 0 : 1, capacityBytes))
  }

  /** Appends a copy of the record; false when there is no room now. An empty record is a record. */
  push(bytes: Uint8Array): boolean {
    const status = this.#table.binding.ringPush(this.#table.handle, bytes)
    if (status === 0) return true
    if (status === Status.RingFull) return false
    const message = status === Status.LimitExceeded ? `a record of ${bytes.length} bytes is longer than the ring` : BUSY
    throw this.#table.refused(status, { field: 'bytes', message })
  }

  /** The oldest record as an array of its own, or `null` when there is none. */
  pop(): Uint8Array | null
  /** Moves the oldest record to `out`: its length, or -1 when there is none. Allocates nothing. */
  pop(out: Uint8Array): number
  pop(out?: Uint8Array): number | Uint8Array | null {
    if (out === undefined) return this.#popCopy()
    const length = this.#table.binding.ringPop(this.#table.handle, out)
    if (length < -1) {
      const message = status(length, `the record is longer than out (${out?.length} bytes) and stays in the ring`)
      throw this.#table.refused(length, { field: 'out', message, limit: out?.length })
    }
    return length
  }

  /** Records in the ring: a moment's truth while other threads work on it. */
  get length(): number {
    return this.#table.must(this.#table.binding.ringLength(this.#table.handle))
  }

  /** Gives this thread's hold back; the memory goes with the last one. Closing twice does nothing. */
  close(): void {
    this.#table.close()
  }

  [Symbol.dispose](): void {
    this.close()
  }

  #popCopy(): Uint8Array | null {
    for (;;) {
      const length = this.#table.binding.ringPop(this.#table.handle, this.#buffer)
      if (length >= 0) return this.#buffer.slice(0, length)
      if (length === Status.NoMatch) return null
      // No ring is longer than 2^28, so this ends.
      if (length !== Status.LimitExceeded || this.#buffer.length >= 2 ** 28) {
        throw this.#table.refused(length, { field: 'out', message: BUSY })
      }
      this.#buffer = new Uint8Array(this.#buffer.length * 4)
    }
  }
}

function status(length: number, tooLong: string): string {
  return length === Status.LimitExceeded ? tooLong : BUSY
}
