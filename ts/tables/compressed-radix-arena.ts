/** Which pattern matches a path, and which prefix of a key is the longest: one arena, shared by every thread. */
import { Status } from '../binding/contract.js'
import { checkRecord, invalid, shown } from '../mesh/checks.js'
import { answersFor, StringBatch } from './batch.js'
import { nameOf, TableHandle } from './handle.js'

export interface RadixArenaOptions {
  /** Shared by every thread of the process that opens this name; 1 to 256 bytes. */
  name?: string
}

/** Words that take the captures of any match: pattern id, count, 32 pairs of offsets. */
export const SPANS_LENGTH = 2 + 2 * 32

const WHAT = 'CompressedRadixArena'
/** Stands in `spans[1]` until a match has filled it. */
const UNFILLED = 0xffffffff
/** Patterns whose names are remembered at once. */
const MOST_NAMES = 65_536
const PATH = { field: 'path', message: 'a path is a string' } as const
const BATCH = { field: 'paths', message: 'paths are strings, and out has room for each' } as const

/**
 * Path patterns and literal prefixes with a number each, from 0 to 4,294,967,294.
 *
 * Patterns: literal segments, `:name`, `{name}`, `*` for one segment, `{name=shelves/*}` for several in one capture,
 * text around a capture (`{name}.json`, `{name=shelves/*}:archive`), a trailing `**` for the rest, none included. The most
 * specific pattern wins, decided segment by segment from the left: text, text with a capture, capture, `**`. Nothing is
 * decoded and no trailing slash is forgiven. Patterns and literal prefixes do not see each other. A pattern has 1 to
 * 4,096 bytes, 256 segments and 32 captures at most; a prefix 1 to 4,096 bytes.
 *
 * Cost, native: `match` one crossing and some 30 ns for the path; `insert` and `delete` take the writer's lock.
 *
 * @example
 * const routes = new CompressedRadixArena()
 * routes.insert('/users/:id/posts/{post}', 7)
 * const spans = new Uint32Array(SPANS_LENGTH)   // keep it: one per caller is enough
 * routes.match('/users/42/posts/9', spans)      // 7
 * routes.params('/users/42/posts/9', spans)     // { id: '42', post: '9' }
 */
export class CompressedRadixArena implements Disposable {
  readonly #table: TableHandle
  readonly #batch = new StringBatch()
  /** Capture names by pattern id. An id is never given to another pattern. */
  readonly #names = new Map<number, readonly string[]>()

  constructor(options: RadixArenaOptions = {}) {
    checkRecord(options, 'options')
    const name = nameOf(options.name)
    this.#table = new TableHandle(WHAT, (binding) => binding.radixOpen(name))
  }

  /** Adds a pattern, or replaces the value of an equal one. */
  insert(pattern: string, value: number): this {
    return this.#insert('pattern', pattern, value, 0)
  }

  /** Adds a literal prefix for {@link longestPrefix}, or replaces its value. */
  insertPrefix(prefix: string, value: number): this {
    return this.#insert('prefix', prefix, value, 1)
  }

  /** Removes a pattern; true when it was there. */
  delete(pattern: string): boolean {
    return this.#delete('pattern', pattern, 0)
  }

  /** Removes a literal prefix; true when it was there. */
  deletePrefix(prefix: string): boolean {
    return this.#delete('prefix', prefix, 1)
  }

  /**
   * Value of the most specific pattern that matches, or -1. Allocates nothing.
   *
   * `spans`, when given, receives the pattern's id, the number of captures n, then n pairs (start, end): offsets into
   * `path`, so that `path.slice(start, end)` is the capture. With less than 2 + 2n words it receives nothing;
   * {@link SPANS_LENGTH} is always enough.
   */
  match(path: string, spans?: Uint32Array): number {
    if (spans !== undefined && spans.length > 1) spans[1] = UNFILLED
    const value = this.#table.binding.radixMatch(this.#table.handle, path, spans)
    if (value < -1) throw this.#table.refused(value, PATH)
    return value
  }

  /**
   * The captures of the last {@link match} that filled `spans`, by name. Makes the object and its strings only here.
   * It has no prototype, so a capture may have any name, `__proto__` too. Of several `*` only the last is in it.
   */
  params(path: string, spans: Uint32Array): Record<string, string> {
    const id = spans[0]
    const count = spans[1]
    if (id === undefined || count === undefined || count === UNFILLED || spans.length < 2 + 2 * count) {
      const words = `spans holds no match: the path did not match, or spans is shorter than its captures need`
      throw invalid('spans', words, SPANS_LENGTH)
    }
    const names = this.names(id)
    const params: Record<string, string> = Object.create(null)
    for (let i = 0; i < names.length; i++) {
      params[names[i] as string] = path.slice(spans[2 + 2 * i], spans[3 + 2 * i])
    }
    return params
  }

  /** Capture names of a pattern id, in the order of the captures. Asked once per pattern, then remembered. */
  names(patternId: number): readonly string[] {
    const known = this.#names.get(patternId)
    if (known !== undefined) return known
    const text = this.#table.binding.radixNames(this.#table.handle, patternId)
    if (text === '')
      throw this.#table.refused(Status.InvalidArgument, {
        field: 'patternId',
        message: `no pattern has the id ${patternId}`,
      })
    const names = Object.freeze(JSON.parse(text) as string[])
    if (this.#names.size >= MOST_NAMES) this.#names.clear()
    this.#names.set(patternId, names)
    return names
  }

  /** Value of the longest inserted literal prefix of `key`, or -1. Allocates nothing. */
  longestPrefix(key: string): number {
    const value = this.#table.binding.radixLongestPrefix(this.#table.handle, key)
    if (value < -1) throw this.#table.refused(value, { field: 'key', message: 'a key is a string' })
    return value
  }

  /** Matches many paths at once: one value per path into `out` (a new array by default), 0xFFFFFFFF for none. */
  matchMany(paths: readonly string[], out?: Uint32Array): Uint32Array {
    if (!Array.isArray(paths)) throw invalid('paths', `paths must be an array of strings, not ${shown(paths)}`)
    const { binding, handle } = this.#table
    const answers = answersFor(paths.length, out)
    const found = this.#batch.lookUp(paths, answers, (joined, lengths, part) =>
      binding.radixMatchMany(handle, joined, lengths, part),
    )
    if (found < 0) throw this.#table.refused(found, BATCH)
    return answers
  }

  /** Patterns and prefixes in the arena. */
  get size(): number {
    return this.#table.must(this.#table.binding.radixSize(this.#table.handle))
  }

  /** Gives this thread's hold back; the memory goes with the last one. Closing twice does nothing. */
  close(): void {
    this.#table.close()
  }

  [Symbol.dispose](): void {
    this.close()
  }

  #insert(field: string, text: string, value: number, syntax: 0 | 1): this {
    if (typeof text !== 'string') throw invalid(field, `${field} must be a string, not ${shown(text)}`)
    if (typeof value !== 'number') throw invalid('value', `value must be a number, not ${shown(value)}`)
    this.#table.must(this.#table.binding.radixInsert(this.#table.handle, text, value, syntax))
    return this
  }

  #delete(field: string, text: string, syntax: 0 | 1): boolean {
    if (typeof text !== 'string') throw invalid(field, `${field} must be a string, not ${shown(text)}`)
    return this.#table.must(this.#table.binding.radixDelete(this.#table.handle, text, syntax)) === 1
  }
}
