/** A request under way: what `complete` must know of its `pick`. As `crates/routing/src/ticket.rs`. */
import type { Handle, Ticket } from '../../contract.js'
import type { Probe } from './breaker.js'

/** Requests that may be under way at one time, in the whole mesh. */
const MAX_TICKETS = 2 ** 18
const SLOTS = 2 ** 20
const LAST_GENERATION = 2 ** 32 - 1

/** What a ticket says. */
export interface OpenTicket {
  readonly service: Handle
  readonly instance: Handle
  /** Thread that picked, or waits. */
  readonly thread: number
  readonly probe: Probe | undefined
  readonly pickedAtUs: number
  readonly leaseUntilUs: number
}

/** All open tickets: `generation * 2^20 + slot`, the slot freed last reused first. Each is closed exactly once. */
export class Tickets {
  readonly #open: (OpenTicket | undefined)[] = []
  readonly #generations: number[] = []
  readonly #free: number[] = []

  /** Gives out a ticket; undefined when 262,144 are open. */
  open(content: OpenTicket): Ticket | undefined {
    const slot = this.#free.pop() ?? this.#open.length
    if (slot === MAX_TICKETS) return undefined
    const previous = this.#generations[slot] ?? 0
    const generation = previous === LAST_GENERATION ? 1 : previous + 1
    this.#generations[slot] = generation
    this.#open[slot] = content
    return generation * SLOTS + slot
  }

  /** Closes a ticket: once per ticket it says what it said. Any number is safe to ask for. */
  close(ticket: Ticket): OpenTicket | undefined {
    const slot = ticket % SLOTS
    const content = this.#open[slot]
    if (content === undefined || this.#generations[slot] !== Math.floor(ticket / SLOTS)) return undefined
    this.#open[slot] = undefined
    this.#free.push(slot)
    return content
  }

  /** Open tickets in slot order. They may be closed meanwhile. */
  *openOnes(): Generator<[Ticket, OpenTicket]> {
    for (let slot = 0; slot < this.#open.length; slot++) {
      const content = this.#open[slot]
      if (content !== undefined) yield [(this.#generations[slot] as number) * SLOTS + slot, content]
    }
  }
}
