/** `mesh.deadLetters`. */
import type { JournalOptions, LetterFilter, LetterState, RedriveOutcome } from '../binding/contract-journal.js'
import { errorOf } from '../errors.js'
import { checkFields, checkInteger, checkRecord, invalid, shown } from '../mesh/checks.js'
import type { Core } from '../mesh/core.js'
import {
  type DeadLetter,
  type DeadLetterEntry,
  type DeadLetterSummary,
  encodeEntry,
  encodeLetter,
  type StoredLetter,
} from './entry.js'
import {
  type RedriveAllOptions,
  type RedriveOptions,
  type RedriveStore,
  type RedriveSummary,
  redriveAll,
  redriveOne,
} from './redrive.js'
import { JournalStore } from './store.js'
import type { Verification } from './verification.js'

export interface DeadLetterStats {
  dead: number
  redriving: number
  redriven: number
  parked: number
  /** Open letters that the retention removed. */
  dropped: number
  bytes: number
  records: number
  /** False: in memory, gone with the process. */
  durable: boolean
  /** The index was made anew when the folder was opened. */
  indexRebuilt: boolean
  /** Letters of this thread that could not be written. */
  lost: number
}

const FILTER_FIELDS: ReadonlySet<string> = new Set([
  'states',
  'service',
  'reason',
  'key',
  'qos',
  'outcome',
  'afterMs',
  'beforeMs',
  'ids',
  'from',
  'limit',
])
const MAX_PAGE = 1_000

/** Sends a letter's message by the mesh; what the redrive needs to know of it. */
export type SendLetter = (letter: DeadLetter) => Promise<RedriveOutcome>

/**
 * Messages that were given up, with everything that happened to them.
 *
 * With `Mesh.open({ data })` a letter outlives the process: an append resolves when it is on the disk. Without, they are
 * in memory, at most 64 MiB of them, and {@link stats} says `durable: false`.
 *
 * # Common issues
 * - `LM_LOCKED`: another process has the folder open; one folder belongs to one process at a time.
 * - `LM_QUEUE_FULL`: more is appended than the disk takes; append again after some were acknowledged.
 */
export class DeadLetters {
  readonly #core: Core
  readonly #send: SendLetter
  #store: Promise<JournalStore> | undefined
  /** The same, once it is open: an append then waits for nothing but the disk. */
  #ready: JournalStore | undefined
  #ended = false
  #lost = 0
  #warned = false

  /** @internal */
  constructor(core: Core, send: SendLetter) {
    this.#core = core
    this.#send = send
  }

  /** @internal Opens the folder now, so that what is wrong with it is said when the mesh opens. */
  async openWith(options: JournalOptions | undefined): Promise<JournalStore> {
    this.#store = JournalStore.open(this.#core, 'dead-letters', options)
    try {
      const store = await this.#store
      if (!this.#ended) this.#ready = store
      for (const gap of store.opened.recovery.dropped)
        this.#core.logger.warn({ gap }, `linkmesh: the repair of the dead letters gave up: ${gap.what}`)
      return store
    } catch (error) {
      this.#store = undefined
      throw error
    }
  }

  #opened(): Promise<JournalStore> {
    if (this.#ended || this.#core.closed)
      return Promise.reject(errorOf('LM_CLOSED', `mesh ${this.#core.name} is closed`))
    if (this.#store === undefined) return this.openWith(undefined)
    return this.#store
  }

  /** Writes a letter; resolves to its id when it is durable. */
  append(entry: DeadLetterEntry): Promise<number> {
    let text: string
    try {
      text = encodeEntry(entry)
    } catch (error) {
      return Promise.reject(error)
    }
    // Not an async function: that is three promises and four turns of the queue for each letter.
    if (this.#ready !== undefined) return this.#ready.append(text)
    return this.#opened().then((store) => store.append(text))
  }

  /** @internal A request of this mesh was given up. Never throws: the caller already has its error. */
  async record(letter: StoredLetter): Promise<void> {
    try {
      await (await this.#opened()).append(encodeLetter(letter))
      this.#warned = false
    } catch (error) {
      this.#lost++
      // Once until the next success: a full disk under load would fill the log as well.
      if (!this.#warned)
        this.#core.logger.error({ err: error, service: letter.service }, 'linkmesh: a dead letter could not be written')
      this.#warned = true
    }
  }

  /** Letters that match, by id; `next` goes into `filter.from` for the page after, null at the end. */
  async list(filter: LetterFilter = {}): Promise<{ letters: DeadLetterSummary[]; next: number | null }> {
    checkFilter(filter)
    return (await this.#opened()).ask({ op: 'list', filter })
  }

  /** A letter with its message, attempts and history. `LM_NOT_FOUND` when it is gone. */
  async get(id: number): Promise<DeadLetter> {
    checkInteger(id, 'id', 1, Number.MAX_SAFE_INTEGER)
    return (await this.#opened()).ask({ op: 'get', id })
  }

  /**
   * Sends a letter again, to whichever instance the router picks now; resolves to its state afterwards: `redriven`, `dead`
   * when it failed again, `parked` when it failed too often or nobody can tell whether it was delivered.
   */
  async redrive(id: number, options: RedriveOptions = {}): Promise<LetterState> {
    checkInteger(id, 'id', 1, Number.MAX_SAFE_INTEGER)
    return redriveOne(this.#redriveStore(), id, options)
  }

  /** Sends every letter that matches, each once, at a limited rate. Dead ones only, unless `force` or `filter.states`. */
  async redriveAll(filter: LetterFilter = {}, options: RedriveAllOptions = {}): Promise<RedriveSummary> {
    checkFilter(filter)
    return redriveAll(this.#redriveStore(), filter, options)
  }

  #redriveStore(): RedriveStore {
    return {
      list: (filter) => this.list(filter),
      start: async (id, by, force) => (await this.#opened()).ask({ op: 'start-redrive', id, by, force }),
      finish: async (id, result) => (await this.#opened()).ask({ op: 'finish-redrive', id, result }),
      send: this.#send,
    }
  }

  /** Gives up every letter that matches; resolves to how many. */
  async purge(filter: LetterFilter, options: { dryRun?: boolean; by?: string } = {}): Promise<number> {
    checkFilter(filter)
    const { dryRun = false, by = 'api' } = options
    return (await this.#opened()).ask({ op: 'purge', filter, by, dryRun })
  }

  /** Every letter that matches, whole, by id. */
  async *export(filter: LetterFilter = {}): AsyncGenerator<DeadLetter, void, undefined> {
    let from: number | null = filter.from ?? 0
    let left = filter.limit ?? Number.POSITIVE_INFINITY
    while (from !== null && left > 0) {
      const page: { letters: DeadLetterSummary[]; next: number | null } = await this.list({
        ...filter,
        from,
        limit: Math.min(left, MAX_PAGE),
      })
      for (const { id } of page.letters) yield await this.get(id)
      left -= page.letters.length
      from = page.next
    }
  }

  async stats(): Promise<DeadLetterStats> {
    const stats = await (await this.#opened()).ask<Omit<DeadLetterStats, 'lost'>>({ op: 'stats' })
    return { ...stats, lost: this.#lost }
  }

  /** Reads every record that is kept and checks the chain. */
  async verify(): Promise<Verification> {
    return (await this.#opened()).ask({ op: 'verify' })
  }

  /** @internal */
  async end(whole: boolean): Promise<void> {
    this.#ended = true
    this.#ready = undefined
    const store = await this.#store?.catch(() => undefined)
    this.#store = undefined
    await store?.close(whole)
  }
}

function checkFilter(filter: LetterFilter): void {
  checkFields(checkRecord(filter, 'filter'), FILTER_FIELDS, 'filter')
  if (filter.limit !== undefined) checkInteger(filter.limit, 'filter.limit', 1, Number.MAX_SAFE_INTEGER)
  if (filter.from !== undefined) checkInteger(filter.from, 'filter.from', 0, Number.MAX_SAFE_INTEGER)
  for (const field of ['service', 'reason', 'key', 'qos', 'outcome'] as const) {
    const value: unknown = filter[field]
    if (value !== undefined && typeof value !== 'string')
      throw invalid(`filter.${field}`, `filter.${field} must be a string, not ${shown(value)}`)
  }
}
