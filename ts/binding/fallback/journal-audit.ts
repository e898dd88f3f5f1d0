/** The audit trail in memory: the newest of what was recorded, up to a bound. */
import { Status } from '../contract.js'
import type { AuditQuery, JournalRequest } from '../contract-journal.js'
import { exceeded, Failure } from './edge.js'
import type { Room } from './journal.js'

const MAX_BYTES = 64 << 20
const MAX_PAGE = 1_000

interface Recorded {
  sequence: number
  recordedMs: number
  text: string
}

export class AuditMemory implements Room {
  #entries: Recorded[] = []
  #sequence = 0
  #bytes = 0

  append(text: string): number {
    this.#sequence++
    this.#entries.push({ sequence: this.#sequence, recordedMs: Date.now(), text })
    this.#bytes += text.length
    while (this.#bytes > MAX_BYTES) this.#bytes -= (this.#entries.shift() as Recorded).text.length
    return this.#sequence
  }

  ask(request: JournalRequest): unknown {
    if (request.op === 'read') return this.#read(request.query ?? {})
    if (request.op === 'retain') return null
    if (request.op === 'verify')
      throw new Failure(
        Status.NativeRequired,
        'a trail in memory has no chain: verification needs the native addon',
        'backend',
      )
    throw new Failure(Status.InvalidArgument, 'the audit trail cannot answer this', 'request')
  }

  #read({ tail, from, limit = tail ?? MAX_PAGE }: AuditQuery): object {
    if (!(limit >= 1 && limit <= MAX_PAGE)) throw exceeded('limit', `a page has 1 to ${MAX_PAGE} entries`, MAX_PAGE)
    const after = tail === undefined ? (from?.[1] ?? 0) : this.#sequence - tail
    const found = this.#entries.filter(({ sequence }) => sequence > after).slice(0, limit)
    const last = found.at(-1)?.sequence ?? after
    return {
      entries: found.map(({ sequence, recordedMs, text }) => ({ sequence, recordedMs, entry: JSON.parse(text) })),
      next: found.length === limit ? [0, last] : null,
    }
  }
}
