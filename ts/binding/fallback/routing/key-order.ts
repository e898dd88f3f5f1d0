/**
 * One after the other: of the requests to a service with one key, one at a time is with an instance or being retried. As
 * `crates/routing/src/key_order.rs`.
 */
import { type Handle, Status } from '../../contract.js'
import { exceeded, Failure } from '../edge.js'
import { utf8Length } from '../text.js'
import type { RouterState } from './state.js'

/** Requests that may wait for their turns, of all services. */
const MAX_WAITING = 65_536
/** Keys in use. */
const MAX_KEYS = 262_144
/** Keys that nobody uses and whose order is broken; the oldest is forgotten. */
const MAX_BROKEN = 65_536

/** Longest key, of either kind: what callers give in characters, with room for UTF-8. */
const MAX_KEY_BYTES = 4_096

/** Refuses a key before anything is kept of it. */
export function checkKeyBytes(field: string, key: string): void {
  if (utf8Length(key) > MAX_KEY_BYTES)
    throw exceeded(field, `${field} may have at most ${MAX_KEY_BYTES} bytes`, MAX_KEY_BYTES)
}

export interface Entered {
  readonly id: number
  /** Others come first: the grant says when the turn has come. */
  readonly waits: boolean
  /** A message of the key that came before this one was given up. Of a turn that waits, the grant says it. */
  readonly broken: boolean
}

interface Turn {
  readonly id: number
  readonly thread: number
  broken: boolean
}

interface Key {
  current: Turn | undefined
  waiting: Turn[]
  /** A message after the last of `waiting` was given up: the next to come is told. */
  broken: boolean
}

export class KeyOrder {
  /** By service and key. */
  readonly #keys = new Map<string, Key>()
  /** Unused keys whose order is broken, oldest first. */
  readonly #brokenKeys = new Set<string>()
  waiting = 0
  /** Turns that ended with their message given up. */
  broken = 0
  /** Broken orders that were forgotten before the next message came. */
  forgotten = 0

  enter(service: Handle, name: string, thread: number, id: number, queueLimit: number): Entered {
    const path = pathOf(service, name)
    let key = this.#keys.get(path)
    if (key === undefined) {
      if (this.#keys.size >= MAX_KEYS)
        throw exceeded('key', `key may have at most ${MAX_KEYS} different keys in use`, MAX_KEYS)
      key = { current: undefined, waiting: [], broken: false }
      this.#keys.set(path, key)
    }
    const full = key.current !== undefined && key.waiting.length >= queueLimit
    if (full || (key.current !== undefined && this.waiting >= MAX_WAITING)) {
      // This message is given up: those that come after it are told.
      key.broken = true
      this.broken++
      const limit = full ? queueLimit : MAX_WAITING
      const words = `${limit} requests wait ${full ? 'with this key' : 'for their turns'} already`
      throw new Failure(Status.QueueFull, words, 'key', limit)
    }
    const { broken } = key
    key.broken = false
    const turn = { id, thread, broken }
    if (key.current === undefined) {
      key.current = turn
      this.#brokenKeys.delete(path)
      return { id, waits: false, broken }
    }
    key.waiting.push(turn)
    this.waiting++
    return { id, waits: true, broken: false }
  }

  /** The turn that begins by this, if one does. */
  leave(service: Handle, name: string, id: number, broken: boolean): Turn | undefined {
    return this.#leave(pathOf(service, name), id, broken)
  }

  #leave(path: string, id: number, broken: boolean): Turn | undefined {
    const key = this.#keys.get(path)
    if (key === undefined) return undefined
    if (key.current?.id !== id) {
      const place = key.waiting.findIndex((turn) => turn.id === id)
      const [left] = place < 0 ? [] : key.waiting.splice(place, 1)
      if (left === undefined) return undefined
      this.waiting--
      if (broken) this.broken++
      if (broken || left.broken) breakAfter(key, place)
      return undefined
    }
    if (broken) {
      this.broken++
      breakAfter(key, 0)
    }
    key.current = key.waiting.shift()
    if (key.current === undefined) this.#unused(path, key)
    else this.waiting--
    return key.current
  }

  /** The turns of a thread end, those under way as broken: nobody knows what became of their messages. */
  threadEnded(thread: number): Turn[] {
    const begun: Turn[] = []
    for (const [path, key] of [...this.#keys]) {
      // Those who wait leave first, so that none of them gets the turn.
      for (const turn of key.waiting.filter((one) => one.thread === thread)) this.#leave(path, turn.id, false)
      if (key.current?.thread !== thread) continue
      const next = this.#leave(path, key.current.id, true)
      if (next !== undefined) begun.push(next)
    }
    return begun
  }

  #unused(path: string, key: Key): void {
    if (!key.broken) {
      this.#keys.delete(path)
      return
    }
    this.#brokenKeys.add(path)
    if (this.#brokenKeys.size <= MAX_BROKEN) return
    const [oldest] = this.#brokenKeys
    if (oldest === undefined) return
    this.#brokenKeys.delete(oldest)
    this.#keys.delete(oldest)
    this.forgotten++
  }
}

/** Enters the turn of a key in the name of a thread. */
export function orderEnter(state: RouterState, service: Handle, key: string, thread: number): Entered {
  const membership = state.memberships.get(service)
  if (membership === undefined) throw Failure.stale('service')
  checkKeyBytes('key', key)
  return state.keyOrder.enter(service, key, thread, state.nextParkedId(), membership.policy.queueLimit)
}

/** Leaves a turn, or the queue for it; the thread whose turn has come. */
export function orderLeave(
  state: RouterState,
  service: Handle,
  key: string,
  id: number,
  broken: boolean,
): number | undefined {
  const turn = state.keyOrder.leave(service, key, id, broken)
  if (turn === undefined) return undefined
  state.waits.answer(turn.thread, {
    waitId: turn.id,
    result: 0,
    retryAfterMs: 0,
    instance: Number(turn.broken),
    thread: 0,
  })
  return turn.thread
}

export function forgetTurns(state: RouterState, thread: number): void {
  for (const turn of state.keyOrder.threadEnded(thread)) {
    state.waits.answer(turn.thread, {
      waitId: turn.id,
      result: 0,
      retryAfterMs: 0,
      instance: Number(turn.broken),
      thread: 0,
    })
    state.waits.wakeLater(turn.thread)
  }
}

function breakAfter(key: Key, place: number): void {
  const next = key.waiting[place]
  if (next === undefined) key.broken = true
  else next.broken = true
}

function pathOf(service: Handle, name: string): string {
  return `${service} ${name}`
}
