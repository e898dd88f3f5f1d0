/**
 * `linkmesh/tables`: look-ups by id and by prefix, and rings of bytes, shared by all threads of the process.
 *
 * A table opened by a name is the same table in every worker thread. Without a name it is the caller's own. On the
 * fallback backend tables live in one thread.
 *
 * Memory goes when the last holder has closed the table: by `close()`, `using`, or the garbage collector.
 */
import type { Handle, Status } from './binding/contract.js'
import { type LoadedBinding, loadBinding } from './binding/index.js'
import { errorOf, errorOfStatus, LinkmeshError, must } from './errors.js'
import { checkInteger, checkName, checkRecord, invalid, shown } from './mesh/checks.js'

/** Key of an id table. Strings equal their UTF-8 bytes; numbers (safe integers) are a domain of their own. */
export type TableKey = string | number | Uint8Array

export interface TableOptions {
  /** Shared with every thread that opens the same name; 1 to 256 characters. */
  name?: string
}

/** What `getMany` and `matchMany` write for a key that is not there. */
export const ABSENT = 0xffffffff

/** Longest key or path, bytes. */
const MAX_VALUE = 0xfffffffe
/** Of a pattern: 32 captures, each a pair, after the pattern's id and the count. */
export const SPANS_LENGTH = 66

/** Closes tables whose JavaScript objects were collected. */
const collected = new FinalizationRegistry<{ loaded: LoadedBinding; handle: Handle }>(({ loaded, handle }) => {
  loaded.binding.tableClose(handle)
})

abstract class Table {
  protected readonly loaded: LoadedBinding
  protected readonly handle: Handle
  #closed = false

  constructor(open: (loaded: LoadedBinding) => Handle | Status, what: string) {
    const loaded = loadBinding()
    this.loaded = loaded
    this.handle = must(loaded.binding, open(loaded), what)
    collected.register(this, { loaded, handle: this.handle }, this)
  }

  get closed(): boolean {
    return this.#closed
  }

  /** Gives the table up in this thread. Later calls throw `LM_STALE_HANDLE`. Does nothing the second time. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    collected.unregister(this)
    this.loaded.binding.tableClose(this.handle)
  }

  [Symbol.dispose](): void {
    this.close()
  }

  /** The error of a hot function, which leaves no details of its own. */
  protected refused(status: number, what: string): LinkmeshError {
    if (this.#closed || status === -2)
      return errorOf('LM_STALE_HANDLE', `${what}: the table is closed`, { field: 'table' })
    return errorOf('LM_INVALID_ARGUMENT', `${what}: the argument has the wrong type or range`)
  }

  protected cold(status: number, what: string): number {
    if (status < 0) throw errorOfStatus(this.loaded.binding, status, what)
    return status
  }
}

function checkTableName(options: TableOptions): string | null {
  checkRecord(options, 'options')
  return options.name === undefined ? null : checkName(options.name, 'options.name')
}

function checkValue(value: number): void {
  checkInteger(value, 'value', 0, MAX_VALUE)
}

/** Joined strings as the boundary takes them: one string crosses instead of many. */
function join(strings: readonly string[], field: string): { text: string; lengths: Uint32Array } {
  const lengths = new Uint32Array(strings.length)
  for (let index = 0; index < strings.length; index++) {
    const text = strings[index]
    if (typeof text !== 'string')
      throw invalid(`${field}[${index}]`, `${field}[${index}] must be a string, not ${shown(text)}`)
    lengths[index] = text.length
  }
  return { text: strings.join(''), lengths }
}

function checkOut(out: Uint32Array, needed: number): void {
  if (!(out instanceof Uint32Array)) throw invalid('out', 'out must be a Uint32Array')
  if (out.length < needed) throw invalid('out', `out has room for ${out.length} values; ${needed} are needed`, needed)
}

/**
 * Exact map from ids to numbers 0..4294967294, built for many readers: look-ups are wait-free, and a batch hides the
 * memory's latency.
 */
export class FingerprintedIdTable extends Table {
  /** `capacity`: keys to make room for; the table grows by itself. */
  constructor(options: TableOptions & { capacity?: number } = {}) {
    const name = checkTableName(options)
    const capacity = options.capacity === undefined ? 0 : checkInteger(options.capacity, 'options.capacity', 0, 2 ** 28)
    super(({ binding }) => binding.idTableOpen(name, capacity), 'FingerprintedIdTable')
  }

  /** Inserts or replaces. Keys: 1 to 65,536 bytes, or a safe integer. */
  set(key: TableKey, value: number): this {
    checkValue(value)
    this.cold(this.loaded.binding.idTableSet(this.handle, key, value), 'set')
    return this
  }

  /** The value, or -1. */
  get(key: TableKey): number {
    const { binding } = this.loaded
    const value =
      typeof key === 'string'
        ? binding.idTableGetString(this.handle, key)
        : typeof key === 'number'
          ? binding.idTableGetNumber(this.handle, key)
          : binding.idTableGetBytes(this.handle, key)
    if (value < -1) throw this.#badKey(value, key)
    return value
  }

  has(key: TableKey): boolean {
    return this.get(key) !== -1
  }

  /** True when it was there. */
  delete(key: TableKey): boolean {
    return this.cold(this.loaded.binding.idTableDelete(this.handle, key), 'delete') === 1
  }

  get size(): number {
    return this.cold(this.loaded.binding.idTableSize(this.handle), 'size')
  }

  /** Memory held by the table, bytes. */
  get memoryBytes(): number {
    return this.cold(this.loaded.binding.idTableBytes(this.handle), 'memoryBytes')
  }

  /** Looks up many keys: one value each into `out`, {@link ABSENT} for none. Returns how many were found. */
  getMany(keys: Uint32Array | BigUint64Array | readonly string[], out: Uint32Array): number {
    checkOut(out, keys?.length ?? 0)
    const { binding } = this.loaded
    let found: number
    if (keys instanceof Uint32Array) found = binding.idTableGetManyU32(this.handle, keys, out)
    else if (keys instanceof BigUint64Array) found = binding.idTableGetManyU64(this.handle, keys, out)
    else if (Array.isArray(keys)) {
      const { text, lengths } = join(keys, 'keys')
      found = binding.idTableGetManyStrings(this.handle, text, lengths, out)
    } else throw invalid('keys', 'keys must be a Uint32Array, a BigUint64Array or an array of strings')
    if (found < 0) throw this.refused(found, 'getMany')
    return found
  }

  #badKey(status: number, key: unknown): LinkmeshError {
    if (this.closed || status === -2) return this.refused(status, 'get')
    return invalid('key', `a key is a string, a safe integer or a Uint8Array, not ${shown(key)}`)
  }
}

/** What a pattern's parameters are called, by pattern id. */
type Names = readonly string[]

/**
 * Longest match over paths and byte prefixes: `/users/:id`, `/v1/{name=projects/*}`, `/static/**`; the most specific
 * pattern wins. The syntax is specified in `crates/tables`, module `pattern`.
 */
export class CompressedRadixArena extends Table {
  readonly #names = new Map<number, Names>()

  constructor(options: TableOptions = {}) {
    const name = checkTableName(options)
    super(({ binding }) => binding.radixOpen(name), 'CompressedRadixArena')
  }

  /** Adds a path pattern; an equal one is replaced. */
  insert(pattern: string, value: number): this {
    checkValue(value)
    this.#pattern(pattern)
    this.cold(this.loaded.binding.radixInsert(this.handle, pattern, value, 0), `pattern ${shown(pattern)}`)
    return this
  }

  /** Adds a literal prefix, found by {@link longestPrefix} only. */
  insertPrefix(prefix: string, value: number): this {
    checkValue(value)
    this.#pattern(prefix)
    this.cold(this.loaded.binding.radixInsert(this.handle, prefix, value, 1), `prefix ${shown(prefix)}`)
    return this
  }

  /** True when the pattern was there. */
  delete(pattern: string): boolean {
    this.#pattern(pattern)
    return this.cold(this.loaded.binding.radixDelete(this.handle, pattern, 0), `pattern ${shown(pattern)}`) === 1
  }

  deletePrefix(prefix: string): boolean {
    this.#pattern(prefix)
    return this.cold(this.loaded.binding.radixDelete(this.handle, prefix, 1), `prefix ${shown(prefix)}`) === 1
  }

  /**
   * Value of the most specific pattern that matches the whole path, or -1.
   *
   * `spans` (at least {@link SPANS_LENGTH} long) receives the pattern's id, the number of captures, and the start and
   * end of each in the path; {@link params} reads it.
   */
  match(path: string, spans?: Uint32Array): number {
    const value = this.loaded.binding.radixMatch(this.handle, path, spans)
    if (value < -1) throw this.#badPath(value, path)
    return value
  }

  /** The parameters of the last match that filled `spans`, by name. Built only when asked. */
  params(path: string, spans: Uint32Array): Record<string, string> {
    const id = spans[0] as number
    let names = this.#names.get(id)
    if (names === undefined) {
      const text = this.loaded.binding.radixNames(this.handle, id)
      if (text === '') throw errorOf('LM_STALE_HANDLE', `pattern ${id} is no longer in the table`, { field: 'spans' })
      names = JSON.parse(text) as Names
      if (this.#names.size >= 65_536) this.#names.clear()
      this.#names.set(id, names)
    }
    const found: Record<string, string> = {}
    for (let index = 0; index < names.length; index++) {
      const value = path.slice(spans[2 + index * 2], spans[3 + index * 2])
      const name = names[index] as string
      // A parameter called `__proto__` is a parameter.
      if (name === '__proto__')
        Object.defineProperty(found, name, { value, enumerable: true, configurable: true, writable: true })
      else found[name] = value
    }
    return found
  }

  /** One value per path into `out`, {@link ABSENT} for none. Returns how many matched. */
  matchMany(paths: readonly string[], out: Uint32Array): number {
    if (!Array.isArray(paths)) throw invalid('paths', 'paths must be an array of strings')
    checkOut(out, paths.length)
    const { text, lengths } = join(paths, 'paths')
    const found = this.loaded.binding.radixMatchMany(this.handle, text, lengths, out)
    if (found < 0) throw this.refused(found, 'matchMany')
    return found
  }

  /** Value of the longest inserted prefix of `key`, or -1. */
  longestPrefix(key: string): number {
    const value = this.loaded.binding.radixLongestPrefix(this.handle, key)
    if (value < -1) throw this.#badPath(value, key)
    return value
  }

  /** Patterns and prefixes. */
  get size(): number {
    return this.cold(this.loaded.binding.radixSize(this.handle), 'size')
  }

  #pattern(pattern: unknown): void {
    if (typeof pattern !== 'string') throw invalid('pattern', `a pattern is a string, not ${shown(pattern)}`)
  }

  #badPath(status: number, path: unknown): LinkmeshError {
    if (this.closed || status === -2) return this.refused(status, 'match')
    return invalid('path', `a path is a string, not ${shown(path)}`)
  }
}

export interface RingOptions extends TableOptions {
  /** Bytes, rounded up to a power of two; 64 to 2^28, default 65,536. Each record takes 4 more than its own. */
  capacity?: number
  /** `spsc` (default): one producer, one consumer. `mpmc`: many of both. */
  kind?: 'spsc' | 'mpmc'
}

/** Bounded queue of byte records between threads. */
export class Ring extends Table {
  constructor(options: RingOptions = {}) {
    const name = checkTableName(options)
    const { kind = 'spsc' } = options
    if (kind !== 'spsc' && kind !== 'mpmc')
      throw invalid('options.kind', `options.kind must be spsc or mpmc, not ${shown(kind)}`)
    const capacity = checkInteger(options.capacity ?? 65_536, 'options.capacity', 64, 2 ** 28)
    super(({ binding }) => binding.ringOpen(name, kind === 'spsc' ? 0 : 1, capacity), 'Ring')
  }

  /** False when the ring has no room now. */
  push(record: Uint8Array): boolean {
    const status = this.loaded.binding.ringPush(this.handle, record)
    if (status === 0) return true
    if (status === -16) return false
    if (status === -4)
      throw new LinkmeshError('LM_LIMIT_EXCEEDED', `a record of ${record.length} bytes does not fit this ring`, {
        field: 'record',
      })
    throw this.refused(status, 'push')
  }

  /** Copies the next record into `out`; its length, or -1 when the ring is empty. A record longer than `out` stays. */
  pop(out: Uint8Array): number {
    const length = this.loaded.binding.ringPop(this.handle, out)
    if (length >= -1) return length
    if (length === -4)
      throw new LinkmeshError(
        'LM_LIMIT_EXCEEDED',
        `the next record is longer than ${out.length} bytes; it stays in the ring`,
        { field: 'out', limit: out.length },
      )
    throw this.refused(length, 'pop')
  }

  /** Records in the ring. */
  get length(): number {
    return this.cold(this.loaded.binding.ringLength(this.handle), 'length')
  }
}
