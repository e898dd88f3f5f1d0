/** Exact id → number, shared by every thread, read without waiting. */
import { checkRecord, invalid, shown } from '../mesh/checks.js'
import { answersFor, StringBatch } from './batch.js'
import { nameOf, TableHandle } from './handle.js'

/**
 * A string, equal to its UTF-8 bytes; a safe integer, in a domain of its own (`7` and `'7'` are two keys); or bytes.
 * Strings and bytes have 1 to 65,536 bytes. A string with a surrogate without its partner is no key.
 */
export type Key = string | number | Uint8Array

export interface IdTableOptions {
  /** Shared by every thread of the process that opens this name; 1 to 256 bytes. */
  name?: string
  /** Keys that fit without growing, at most 2^28; default 1,024. Ignored when the name is open already. */
  capacity?: number
}

const WHAT = 'FingerprintedIdTable'
const KEY = { field: 'key', message: 'a key is a string, a safe integer or a Uint8Array' } as const
const BATCH = {
  field: 'keys',
  message: 'keys and out are typed arrays of their own, and out has room for each key',
} as const

/**
 * Maps ids to numbers from 0 to 4,294,967,294.
 *
 * Cost, native: `get` one crossing and one or two cache lines (about 40 ns with a number, 60 with a short string);
 * `getMany` a few nanoseconds a key in batches of 64 and more; `set` and `delete` take the writer's lock.
 */
export class FingerprintedIdTable implements Disposable {
  readonly #table: TableHandle
  readonly #batch = new StringBatch()

  constructor(options: IdTableOptions = {}) {
    checkRecord(options, 'options')
    const name = nameOf(options.name)
    const capacity = options.capacity ?? 1_024
    if (typeof capacity !== 'number') throw invalid('capacity', `capacity must be a number, not ${shown(capacity)}`)
    this.#table = new TableHandle(WHAT, (binding) => binding.idTableOpen(name, capacity))
  }

  /** Sets the value of a key: a whole number from 0 to 4,294,967,294. */
  set(key: Key, value: number): this {
    if (typeof value !== 'number') throw invalid('value', `value must be a number, not ${shown(value)}`)
    this.#table.must(this.#table.binding.idTableSet(this.#table.handle, key, value))
    return this
  }

  /** Value of the key, or -1. Allocates nothing. */
  get(key: Key): number {
    const { binding, handle } = this.#table
    const value =
      typeof key === 'string'
        ? binding.idTableGetString(handle, key)
        : typeof key === 'number'
          ? binding.idTableGetNumber(handle, key)
          : binding.idTableGetBytes(handle, key)
    if (value < -1) throw this.#table.refused(value, KEY)
    return value
  }

  has(key: Key): boolean {
    return this.get(key) !== -1
  }

  /** True when the key was there. */
  delete(key: Key): boolean {
    return this.#table.must(this.#table.binding.idTableDelete(this.#table.handle, key)) === 1
  }

  /**
   * Looks many keys up at once: one value per key into `out` (a new array by default), 0xFFFFFFFF for none.
   * `out` may be longer than `keys`; the rest of it stays as it is.
   *
   * Numbers as a `Uint32Array` or, for ids beyond 32 bits, a `BigUint64Array` (two's complement for negative ones).
   * Typed arrays cost nothing to hand over; strings are joined first, which costs about 20 ns each.
   */
  getMany(keys: Uint32Array | BigUint64Array | readonly string[], out?: Uint32Array): Uint32Array {
    const { binding, handle } = this.#table
    const answers = answersFor(keys?.length ?? 0, out)
    let found: number
    if (keys instanceof Uint32Array) found = binding.idTableGetManyU32(handle, keys, answers)
    else if (keys instanceof BigUint64Array) found = binding.idTableGetManyU64(handle, keys, answers)
    else if (Array.isArray(keys)) {
      found = this.#batch.lookUp(keys, answers, (joined, lengths, part) =>
        binding.idTableGetManyStrings(handle, joined, lengths, part),
      )
    } else throw invalid('keys', 'keys must be a Uint32Array, a BigUint64Array or an array of strings')
    if (found < 0) throw this.#table.refused(found, BATCH)
    return answers
  }

  /** Keys in the table. */
  get size(): number {
    return this.#table.must(this.#table.binding.idTableSize(this.#table.handle))
  }

  /** Memory held, bytes. On the fallback an estimate. */
  get bytes(): number {
    return this.#table.must(this.#table.binding.idTableBytes(this.#table.handle))
  }

  /** Gives this thread's hold back; the memory goes with the last one. Closing twice does nothing. */
  close(): void {
    this.#table.close()
  }

  [Symbol.dispose](): void {
    this.close()
  }
}
