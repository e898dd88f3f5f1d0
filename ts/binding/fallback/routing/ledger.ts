/**
 * The ledger of idempotency keys: what the first request with a key was answered, so that a repeat is answered alike. As
 * `crates/routing/src/ledger.rs`.
 */
import { type Handle, type IdempotencyPolicy, LedgerEntry, Status } from '../../contract.js'
import { exceeded, Failure } from '../edge.js'
import { utf8Length } from '../text.js'
import { checkKeyBytes } from './key-order.js'
import type { RouterState } from './state.js'

/** Repeats that may wait for one first request. */
const MAX_JOINED = 1_024
/** What an entry costs beyond its key and result, about. */
const ENTRY_BYTES = 128

export interface Begun {
  readonly entry: (typeof LedgerEntry)[keyof typeof LedgerEntry]
  readonly id: number
}

interface Waiter {
  readonly id: number
  readonly thread: number
}

interface Entry {
  readonly bytes: number
  /** Id of the first request while it runs, else 0. */
  readonly id: number
  readonly thread: number
  readonly sinceUs: number
  joined: Waiter[]
  readonly result: Uint8Array | undefined
}

/** What is remembered of one service. */
export class ServiceLedger {
  /** Oldest first: an entry that is settled goes to the end. */
  readonly entries = new Map<string, Entry>()
  bytes = 0
  running = 0
  ttlUs = 0
  hits = 0
  joins = 0
  evictions = 0

  add(key: string, entry: Entry): void {
    this.entries.set(key, entry)
    this.bytes += entry.bytes
    if (entry.result === undefined) this.running++
  }

  remove(key: string): Waiter[] {
    const entry = this.entries.get(key)
    if (entry === undefined) return []
    this.entries.delete(key)
    this.bytes -= entry.bytes
    if (entry.result === undefined) this.running--
    return entry.joined
  }

  /** Forgets what is older than its time; repeats that waited for something so old begin again. */
  expire(nowUs: number): Waiter[] {
    const woken: Waiter[] = []
    for (const [key, { sinceUs }] of this.entries) {
      if (Math.max(0, nowUs - sinceUs) < this.ttlUs) break
      woken.push(...this.remove(key))
    }
    return woken
  }

  /** Removes the oldest results until there is room. Those that run stay: to forget them would be to run them twice. */
  makeRoom(policy: Required<IdempotencyPolicy>, entries: number, bytes: number): boolean {
    const fits = (): boolean =>
      this.entries.size + entries <= policy.maxEntries && this.bytes + bytes <= policy.maxBytes
    for (const [key, { result }] of this.entries) {
      if (fits() || this.running === this.entries.size) break
      if (result === undefined) continue
      this.remove(key)
      this.evictions++
    }
    return fits()
  }
}

/** Asks what a request with an idempotency key has to do. */
export function ledgerBegin(state: RouterState, service: Handle, key: string, thread: number, nowUs: number): Begun {
  const policy = state.memberships.get(service)?.policy.idempotency
  if (policy === undefined) throw Failure.stale('service')
  checkKeyBytes('idempotencyKey', key)
  let ledger = state.ledgers.get(service)
  if (ledger === undefined) {
    ledger = new ServiceLedger()
    state.ledgers.set(service, ledger)
  }
  ledger.ttlUs = policy.ttlMs * 1_000
  wakeJoined(state, ledger.expire(nowUs))
  const entry = ledger.entries.get(key)
  if (entry?.result !== undefined) {
    ledger.hits++
    return { entry: LedgerEntry.Settled, id: 0 }
  }
  if (entry !== undefined) {
    if (entry.joined.length >= MAX_JOINED) {
      const words = `${MAX_JOINED} repeats of this request wait for it already`
      throw new Failure(Status.QueueFull, words, 'idempotencyKey', MAX_JOINED)
    }
    const id = state.nextParkedId()
    entry.joined.push({ id, thread })
    ledger.joins++
    return { entry: LedgerEntry.Joined, id }
  }
  const bytes = ENTRY_BYTES + utf8Length(key)
  if (!ledger.makeRoom(policy, 1, bytes)) {
    const full = ledger.entries.size >= policy.maxEntries
    const field = full ? 'policy.idempotency.maxEntries' : 'policy.idempotency.maxBytes'
    const limit = full ? policy.maxEntries : policy.maxBytes
    const what = full ? 'requests with idempotency keys under way' : 'bytes of idempotency keys under way'
    throw exceeded(field, `${field} may have at most ${limit} ${what}`, limit)
  }
  const id = state.nextParkedId()
  ledger.add(key, { bytes, id, thread, sinceUs: nowUs, joined: [], result: undefined })
  return { entry: LedgerEntry.First, id }
}

/** What the first request with this key was answered, while it is remembered. */
export function ledgerResult(state: RouterState, service: Handle, key: string): Uint8Array | null {
  const result = state.ledgers.get(service)?.entries.get(key)?.result
  return result === undefined ? null : new Uint8Array(result)
}

/** The first request has its answer; the threads to wake. */
export function ledgerSettle(
  state: RouterState,
  service: Handle,
  key: string,
  id: number,
  result: Uint8Array,
  nowUs: number,
): number[] {
  const policy = state.memberships.get(service)?.policy.idempotency
  const ledger = state.ledgers.get(service)
  const entry = ledger?.entries.get(key)
  if (policy === undefined || ledger === undefined || entry === undefined || entry.id !== id) return []
  if (result.length + entry.bytes > policy.maxBytes || !ledger.makeRoom(policy, 0, result.length)) {
    const field = 'policy.idempotency.maxBytes'
    throw exceeded(field, `${field} may have at most ${policy.maxBytes} bytes of results`, policy.maxBytes)
  }
  const joined = ledger.remove(key)
  const bytes = entry.bytes + result.length
  ledger.add(key, { bytes, id: 0, thread: 0, sinceUs: nowUs, joined: [], result: new Uint8Array(result) })
  return wakeJoined(state, joined)
}

/** The first request has no answer that should be remembered; the threads to wake. */
export function ledgerForget(state: RouterState, service: Handle, key: string, id: number): number[] {
  const ledger = state.ledgers.get(service)
  return ledger?.entries.get(key)?.id === id ? wakeJoined(state, ledger.remove(key)) : []
}

/** What a thread that is gone had begun is forgotten. */
export function forgetBegun(state: RouterState, thread: number): void {
  for (const ledger of state.ledgers.values()) {
    for (const [key, entry] of [...ledger.entries]) {
      entry.joined = entry.joined.filter((waiter) => waiter.thread !== thread)
      if (entry.id !== 0 && entry.thread === thread) wakeJoined(state, ledger.remove(key))
    }
  }
}

/** Forgets what is over, of services that nobody asks, too. */
export function expireLedgers(state: RouterState, nowUs: number): void {
  wakeJoined(
    state,
    [...state.ledgers.values()].flatMap((ledger) => ledger.expire(nowUs)),
  )
}

/** Forgets all of a service. */
export function dropLedger(state: RouterState, service: Handle): void {
  const ledger = state.ledgers.get(service)
  state.ledgers.delete(service)
  wakeJoined(
    state,
    [...(ledger?.entries.values() ?? [])].flatMap(({ joined }) => joined),
  )
}

/** In the order in which they came: ids grow. */
function wakeJoined(state: RouterState, joined: Waiter[]): number[] {
  for (const { id, thread } of joined.toSorted((a, b) => a.id - b.id)) {
    state.waits.answer(thread, { waitId: id, result: 0, retryAfterMs: 0, instance: 0, thread: 0 })
    state.waits.wakeLater(thread)
  }
  return [...new Set(joined.map(({ thread }) => thread))]
}
