/** `mesh.audit`: who did what, in an order that cannot be changed afterwards without it being seen. */
import type { AuditQuery, JournalOptions } from '../binding/contract-journal.js'
import { errorOf, errorOfRejection, LinkmeshError } from '../errors.js'
import { checkInteger, checkName, checkRecord } from '../mesh/checks.js'
import type { Core } from '../mesh/core.js'
import { JournalStore } from './store.js'
import type { Verification } from './verification.js'

/** What is recorded. Everything in it has a JSON form. */
export interface AuditEntry {
  /** Who did it: a person, a process, `linkmesh`. */
  actor: string
  /** What: `drain`, `policy-changed`, … */
  action: string
  /** To what: a service, an instance, … */
  target?: string
  /** Anything else. */
  details?: unknown
  /** Default: now, milliseconds since 1970. */
  atMs?: number
}

/** An entry as it is read. */
export interface AuditRecord {
  sequence: number
  /** When it became durable, milliseconds since 1970. */
  recordedMs: number
  entry: AuditEntry & { atMs: number }
}

interface Page {
  entries: AuditRecord[]
  next: [number, number] | null
}

export class AuditLog {
  readonly #core: Core
  #store: Promise<JournalStore> | undefined
  #ended = false

  /** @internal */
  constructor(core: Core) {
    this.#core = core
  }

  /** @internal */
  async openWith(options: JournalOptions | undefined): Promise<JournalStore> {
    this.#store = JournalStore.open(this.#core, 'audit', options)
    try {
      return await this.#store
    } catch (error) {
      this.#store = undefined
      throw error
    }
  }

  #opened(): Promise<JournalStore> {
    if (this.#ended || this.#core.closed)
      return Promise.reject(errorOf('LM_CLOSED', `mesh ${this.#core.name} is closed`))
    return this.#store ?? this.openWith(undefined)
  }

  /** Records an entry; resolves to its sequence when it is durable. */
  async append(entry: AuditEntry): Promise<number> {
    checkRecord(entry, 'entry')
    checkName(entry.actor, 'entry.actor')
    checkName(entry.action, 'entry.action')
    let text: string
    try {
      text = JSON.stringify({ atMs: Date.now(), ...entry })
    } catch (cause) {
      throw new LinkmeshError('LM_CODEC', 'an entry of the audit trail has no JSON form', { field: 'entry', cause })
    }
    return (await this.#opened()).append(text)
  }

  /** The newest entries, oldest of them first; at most 1,000. */
  async tail(count = 20): Promise<AuditRecord[]> {
    checkInteger(count, 'count', 1, 1_000)
    return (await this.#read({ tail: count })).entries
  }

  /** Every entry that is kept, oldest first. */
  async *entries(): AsyncGenerator<AuditRecord, void, undefined> {
    let next: [number, number] | null | undefined
    while (next !== null) {
      const page: Page = await this.#read(next === undefined ? {} : { from: next })
      yield* page.entries
      next = page.next
    }
  }

  /** Reads everything and checks the chain. */
  async verify(): Promise<Verification> {
    return (await this.#opened()).ask({ op: 'verify' })
  }

  /** @internal Checks a journal's folder, whatever state it is in, also while another process writes it. */
  async verifyFolder(folder: string): Promise<Verification> {
    try {
      return JSON.parse(await this.#core.binding.journalVerify(folder)) as Verification
    } catch (cause) {
      throw errorOfRejection(cause, folder)
    }
  }

  /** False: in memory, gone with the process. */
  async durable(): Promise<boolean> {
    return (await this.#opened()).durable
  }

  async #read(query: AuditQuery): Promise<Page> {
    return (await this.#opened()).ask({ op: 'read', query })
  }

  /** @internal */
  async end(whole: boolean): Promise<void> {
    this.#ended = true
    const store = await this.#store?.catch(() => undefined)
    this.#store = undefined
    await store?.close(whole)
  }
}
