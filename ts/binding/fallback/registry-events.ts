/** What changed, in order: a bounded log that readers follow by sequence number. As `crates/registry/src/event.rs`. */
import type { EventBatch, MeshEvent } from '../contract.js'

type WithoutPlace<E> = E extends MeshEvent ? Omit<E, 'sequence' | 'atUs'> : never
/** An event before it has a number and a time. */
export type EventKind = WithoutPlace<MeshEvent>

/** The newest events, a fixed number of them. */
export class EventLog {
  readonly #capacity: number
  /** A ring once it is full: the event of sequence `s` is at `(s - 1) % capacity`. */
  readonly #events: MeshEvent[] = []
  #last = 0

  constructor(capacity: number) {
    this.#capacity = Math.max(1, capacity)
  }

  /** Sequence of the newest event, 0 when there was none. */
  get last(): number {
    return this.#last
  }

  push(atUs: number, kind: EventKind): void {
    this.#events[this.#last % this.#capacity] = { sequence: this.#last + 1, atUs, ...kind } as MeshEvent
    this.#last += 1
  }

  /** Whether an event after `sequence` was dropped. */
  gapAfter(sequence: number): boolean {
    return this.#last - this.#events.length > sequence
  }

  /** The kept events after `sequence`, oldest first. */
  *iterateSince(sequence: number): Generator<MeshEvent> {
    const first = Math.max(sequence, this.#last - this.#events.length)
    for (let at = first; at < this.#last; at++) yield this.#events[at % this.#capacity] as MeshEvent
  }

  /** Everything kept after `sequence`; anything but a positive number counts as 0. */
  since(sequence: number): EventBatch {
    const after = sequence > 0 ? Math.floor(sequence) : 0
    return { last: this.#last, gap: this.gapAfter(after), events: [...this.iterateSince(after)] }
  }
}
