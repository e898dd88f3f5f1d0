/** The mesh's event log as listeners see it. Nothing is read unless something woke this thread. */
import type { EventBatch, MeshEvent, ThreadInfo } from '../binding/contract.js'
import { invalid, shown } from './checks.js'
import type { Core } from './core.js'
import { BACKPRESSURE, BREAKER } from './diagnostics.js'

export type BreakerEvent = Extract<MeshEvent, { kind: 'breaker' }>
export type ThreadEndedEvent = Extract<MeshEvent, { kind: 'thread-ended' }>
export type LoopEvent = Extract<MeshEvent, { kind: 'loop' }>
export type BackpressureEvent = Extract<MeshEvent, { kind: 'backpressure' }>
export type ChangeEvent = Exclude<MeshEvent, BreakerEvent | BackpressureEvent | ThreadEndedEvent | LoopEvent>

/** What each event carries. */
export interface MeshEvents {
  /** A service or an instance came, changed or went. */
  change: ChangeEvent
  /** A circuit breaker changed its state. */
  breaker: BreakerEvent
  /** The queue of a service passed its high watermark, or after that its low one. */
  backpressure: BackpressureEvent
  /** A thread left the mesh. */
  'thread-ended': ThreadEndedEvent
  /** The event loop of a thread is blocked, or turns again. */
  loop: LoopEvent
  /** So much happened that events were dropped: read `services()` again. */
  gap: { last: number }
}

type Listener = (event: never) => void
const NAMES = ['change', 'breaker', 'backpressure', 'thread-ended', 'loop', 'gap'] as const

export class Events {
  readonly #core: Core
  readonly #listeners = new Map<string, Set<Listener>>(NAMES.map((name) => [name, new Set<Listener>()]))
  #sequence: number
  /** What the log says while nothing is new: most wakes find just this. */
  #nothing = ''
  #count = 0

  constructor(core: Core) {
    this.#core = core
    const text = this.#read(0)
    this.#sequence = text === '' ? 0 : (JSON.parse(text) as EventBatch).last
  }

  /** Returns the function that takes the listener off again. */
  on<Name extends keyof MeshEvents>(name: Name, listener: (event: MeshEvents[Name]) => void): () => void {
    const listeners = this.#listeners.get(name)
    if (listeners === undefined)
      throw invalid('event', `there is no event ${shown(name)}; there are ${NAMES.join(', ')}`)
    if (typeof listener !== 'function') throw invalid('listener', `listener must be a function, not ${shown(listener)}`)
    if (!listeners.has(listener as Listener)) this.#count++
    listeners.add(listener as Listener)
    return () => {
      if (listeners.delete(listener as Listener)) this.#count--
    }
  }

  /** True when somebody wants to hear of events. */
  get heard(): boolean {
    return this.#count > 0 || BREAKER.hasSubscribers || BACKPRESSURE.hasSubscribers
  }

  /** Reads what is new and tells the listeners. `threadEnded` hears of ended threads first. */
  pump(threadEnded: (thread: number) => void): void {
    const text = this.#read(this.#sequence)
    if (text === '' || text === this.#nothing) return
    const batch = JSON.parse(text) as EventBatch
    if (batch.last === this.#sequence) {
      this.#nothing = text
      return
    }
    this.#sequence = batch.last
    if (batch.gap) {
      // The end of a thread may be among what was dropped, and somebody may wait for its answer.
      const threads = JSON.parse(this.#core.binding.threads(this.#core.handle)) as ThreadInfo[]
      for (const { id, alive } of threads) if (!alive) threadEnded(id)
      this.#emit('gap', { last: batch.last })
    }
    for (const event of batch.events) {
      if (event.kind === 'thread-ended') {
        threadEnded(event.thread)
        this.#emit('thread-ended', event)
      } else if (event.kind === 'breaker') {
        if (BREAKER.hasSubscribers) BREAKER.publish(event)
        this.#emit('breaker', event)
      } else if (event.kind === 'backpressure') {
        if (BACKPRESSURE.hasSubscribers) BACKPRESSURE.publish(event)
        this.#emit('backpressure', event)
      } else if (event.kind === 'loop') this.#emit('loop', event)
      else this.#emit('change', event)
    }
  }

  #read(after: number): string {
    return this.#core.binding.eventsSince(this.#core.handle, after)
  }

  #emit<Name extends keyof MeshEvents>(name: Name, event: MeshEvents[Name]): void {
    for (const listener of this.#listeners.get(name) ?? []) {
      try {
        ;(listener as (event: MeshEvents[Name]) => void)(event)
      } catch (error) {
        // A listener's failure belongs to its author: it surfaces as an uncaught exception, and stops no other listener.
        queueMicrotask(() => {
          throw error
        })
      }
    }
  }
}
