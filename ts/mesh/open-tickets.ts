/**
 * Which instance an open ticket stands for, by the slot in its lower bits.
 *
 * Two typed arrays: remembering and forgetting neither hashes nor allocates, and tickets that nobody completes are
 * overwritten when their slot is used again.
 */
import type { Handle, Ticket } from '../binding/contract.js'

/** Lower bits of a ticket, see the contract. */
const SLOT_MASK = 2 ** 20 - 1
const FIRST_SLOTS = 64

export class OpenTickets {
  #tickets = new Float64Array(FIRST_SLOTS)
  #instances = new Uint32Array(FIRST_SLOTS)

  add(ticket: Ticket, instance: Handle): void {
    const slot = ticket & SLOT_MASK
    if (slot >= this.#tickets.length) this.#grow(slot)
    this.#tickets[slot] = ticket
    this.#instances[slot] = instance
  }

  /** The ticket's instance; 0 when it is not open. */
  instance(ticket: Ticket): Handle | 0 {
    const slot = ticket & SLOT_MASK
    return this.#tickets[slot] === ticket ? (this.#instances[slot] as number) : 0
  }

  /** Forgets the ticket; its instance, or 0 when it was not open. */
  remove(ticket: Ticket): Handle | 0 {
    const instance = this.instance(ticket)
    if (instance !== 0) this.#tickets[ticket & SLOT_MASK] = 0
    return instance
  }

  #grow(slot: number): void {
    const slots = 2 ** Math.ceil(Math.log2(slot + 1))
    const [tickets, instances] = [new Float64Array(slots), new Uint32Array(slots)]
    tickets.set(this.#tickets)
    instances.set(this.#instances)
    this.#tickets = tickets
    this.#instances = instances
  }
}
