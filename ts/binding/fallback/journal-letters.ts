/** Dead letters in memory, with the states and rules of `crates/journal/src/letters`. */
import { Status } from '../contract.js'
import type { JournalRequest, LetterFilter, LetterState, RedriveOutcome } from '../contract-journal.js'
import { exceeded, Failure } from './edge.js'
import type { Room } from './journal.js'

const MAX_BYTES = 64 << 20
const MAX_PAGE = 1_000
const DEFAULT_PAGE = 100

interface Letter {
  summary: {
    id: number
    state: LetterState
    service: string
    key?: string
    qos: string
    outcome: string
    reason: string
    firstDeathMs: number
    lastDeathMs: number
    attempts: number
    redrives: number
    parked?: string
    idempotent: boolean
    breaksOrder: boolean
    bytes: number
  }
  text: string
  history: object[]
}

export class LetterMemory implements Room {
  readonly #parkAfter: number
  /** By id, which is also the order of age. */
  readonly #letters = new Map<number, Letter>()
  #sequence = 0
  #bytes = 0
  #dropped = 0

  constructor(parkAfter: number) {
    if (!(parkAfter >= 1)) throw new Failure(Status.InvalidArgument, 'parkAfter is at least 1', 'parkAfter')
    this.#parkAfter = parkAfter
  }

  append(text: string): number {
    const id = ++this.#sequence
    const letter = JSON.parse(text)
    const { service, key, qos, outcome, reason, firstDeathMs, lastDeathMs, idempotent, breaksOrder } = letter
    const attempts = letter.attempts.length
    this.#letters.set(id, {
      summary: {
        id,
        state: 'dead',
        service,
        ...(key === undefined ? {} : { key }),
        qos,
        outcome,
        reason,
        firstDeathMs,
        lastDeathMs,
        attempts,
        redrives: 0,
        idempotent,
        breaksOrder,
        bytes: Buffer.byteLength(text),
      },
      text,
      history: [],
    })
    this.#bytes += text.length
    for (const [oldest, { summary, text }] of this.#letters) {
      if (this.#bytes <= MAX_BYTES) break
      this.#letters.delete(oldest)
      this.#bytes -= text.length
      if (summary.state !== 'redriven') this.#dropped++
    }
    return id
  }

  ask(request: JournalRequest): unknown {
    switch (request.op) {
      case 'list':
        return this.#list(request.filter ?? {})
      case 'get':
        return whole(this.#must(request.id))
      case 'stats':
        return this.#stats()
      case 'start-redrive':
        return this.#start(request.id, request.by, request.force === true)
      case 'finish-redrive':
        return this.#finish(request.id, request.result)
      case 'purge':
        return this.#purge(request.filter, request.dryRun === true)
      case 'retain':
        return null
      case 'verify':
        throw new Failure(
          Status.NativeRequired,
          'dead letters in memory have no chain: verification needs the native addon',
          'backend',
        )
      default:
        throw new Failure(Status.InvalidArgument, 'dead letters cannot answer this', 'request')
    }
  }

  #must(id: number): Letter {
    const letter = this.#letters.get(id)
    if (letter !== undefined) return letter
    const words = `no dead letter ${id}: it was purged, removed by the retention, or never there`
    throw new Failure(Status.NotFound, words, 'id')
  }

  #list(filter: LetterFilter): { letters: Letter['summary'][]; next: number | null } {
    const { limit = DEFAULT_PAGE, from = 0, ids = [] } = filter
    if (!(limit >= 1 && limit <= MAX_PAGE)) throw exceeded('limit', `limit is 1 to ${MAX_PAGE}`, MAX_PAGE)
    if (ids.length > MAX_PAGE) throw exceeded('ids', `at most ${MAX_PAGE} ids at once`, MAX_PAGE)
    const letters: Letter['summary'][] = []
    for (const { summary } of this.#letters.values()) {
      if (summary.id <= from || !matches(filter, summary)) continue
      letters.push({ ...summary })
      if (letters.length === limit) return { letters, next: summary.id }
    }
    return { letters, next: null }
  }

  #stats(): object {
    const counts = { dead: 0, redriving: 0, redriven: 0, parked: 0 }
    for (const { summary } of this.#letters.values()) counts[summary.state]++
    return {
      ...counts,
      dropped: this.#dropped,
      bytes: this.#bytes,
      records: this.#letters.size,
      durable: false,
      indexRebuilt: false,
    }
  }

  #start(id: number, by: string, force: boolean): object {
    const letter = this.#must(id)
    const { summary } = letter
    if (summary.state !== 'dead' && !(summary.state === 'parked' && force)) {
      const words = {
        dead: '',
        parked: `is parked (${summary.parked}); force it by hand`,
        redriving: 'is being redriven',
        redriven: 'was redriven already',
      }[summary.state]
      throw new Failure(Status.Conflict, `letter ${id} ${words}`)
    }
    summary.state = 'redriving'
    summary.redrives++
    this.#event(letter, { event: 'redrive-started', of: id, atMs: Date.now(), by: by.slice(0, 256) })
    return whole(letter)
  }

  #finish(id: number, result: RedriveOutcome): LetterState {
    const letter = this.#must(id)
    const { summary } = letter
    if (summary.state !== 'redriving') throw new Failure(Status.Conflict, `letter ${id} is not being redriven`)
    const atMs = Date.now()
    if (result.result === 'delivered') {
      summary.state = 'redriven'
      delete summary.parked
      this.#event(letter, { event: 'redriven', of: id, atMs })
      return summary.state
    }
    const { outcome, reason, attempts } = result
    const unknown = outcome === 'unknown'
    const parked = summary.redrives >= this.#parkAfter || (unknown && !summary.idempotent)
    summary.state = parked ? 'parked' : 'dead'
    if (parked)
      summary.parked = unknown
        ? 'it is not known whether the last redrive was delivered'
        : `redriven ${summary.redrives} times`
    summary.outcome = outcome
    summary.reason = reason
    summary.lastDeathMs = atMs
    summary.attempts += attempts.length
    this.#event(letter, { event: 'redrive-failed', of: id, atMs, outcome, reason, attempts, parked })
    return summary.state
  }

  /** An event is a record, as on disk: it takes a sequence. */
  #event(letter: Letter, event: object): void {
    this.#sequence++
    letter.history.push(event)
  }

  #purge(filter: LetterFilter, dryRun: boolean): number {
    const found = [...this.#letters.values()].filter(
      ({ summary }) => summary.id > (filter.from ?? 0) && summary.state !== 'redriving' && matches(filter, summary),
    )
    if (dryRun) return found.length
    for (const { summary, text } of found) {
      this.#letters.delete(summary.id)
      this.#bytes -= text.length
    }
    this.#sequence += Math.ceil(found.length / MAX_PAGE)
    return found.length
  }
}

function whole({ summary, text, history }: Letter): object {
  return { ...summary, letter: JSON.parse(text), history: [...history] }
}

function matches(filter: LetterFilter, letter: Letter['summary']): boolean {
  const { states, ids, afterMs, beforeMs } = filter
  if (states === undefined ? letter.state === 'redriven' : !states.includes(letter.state)) return false
  for (const field of ['service', 'reason', 'key', 'qos', 'outcome'] as const)
    if (filter[field] !== undefined && filter[field] !== letter[field]) return false
  if (ids !== undefined && !ids.includes(letter.id)) return false
  if (afterMs !== undefined && letter.lastDeathMs < afterMs) return false
  return beforeMs === undefined || letter.lastDeathMs < beforeMs
}
