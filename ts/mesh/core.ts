/** What every part of one thread's mesh shares. Plain data, and the two calls that every request makes. */
import {
  type Binding,
  type Handle,
  HeaderWord,
  INSTANCE_WORDS,
  InstanceWord,
  type Outcome,
  type Qos,
  Scratch,
  type Ticket,
  type Views,
} from '../binding/contract.js'
import { type ErrorDetails, errorOfStatus, type LinkmeshError } from '../errors.js'
import type { Mesh } from '../mesh.js'
import { nowMs } from './clock.js'
import { DeadlineWheel } from './deadlines.js'
import type { Logger } from './logger.js'
import type { Tracing } from './trace.js'

const SLOT_MASK = 0x1ffff
/**
 * How often the distance of the two clocks is measured. On macOS always: there Node's goes on while the machine sleeps,
 * and the engine's stands still.
 */
const MEASUREMENTS = process.platform === 'darwin' ? Number.POSITIVE_INFINITY : 16

export class Core {
  readonly binding: Binding
  /** The mesh's handle in this thread. */
  readonly handle: Handle
  readonly name: string
  /** Id of this thread in the mesh. */
  readonly thread: number
  readonly scratch: Uint32Array
  readonly views: Views
  readonly deadlines = new DeadlineWheel()
  readonly logger: Logger
  closed = false
  /** Set by `mesh.useTracing`. */
  tracing: Tracing | undefined = undefined
  /** Set while a reload is watched: sees each request of this thread. */
  tap: ((service: string, reply: Promise<unknown>) => void) | undefined = undefined
  /** Set once, right after construction: handlers see it as `ctx.mesh`. */
  mesh!: Mesh

  readonly #pick: Binding['pick']
  readonly #complete: Binding['complete']
  readonly #completeMany: Binding['completeMany']
  readonly #times: Float64Array
  /** From the engine's clock to that of this process, milliseconds: the least that was measured. */
  #offsetMs = Number.NaN
  #measured = 0

  constructor(binding: Binding, handle: Handle, name: string, thread: number, logger: Logger) {
    this.binding = binding
    this.handle = handle
    this.name = name
    this.thread = thread
    this.logger = logger
    this.scratch = binding.scratch()
    this.#times = new Float64Array(this.scratch.buffer, this.scratch.byteOffset, this.scratch.length >>> 1)
    this.views = binding.views(handle)
    this.#pick = binding.pick
    this.#complete = binding.complete
    this.#completeMany = binding.completeMany
  }

  /** Grows with every change of services or instances. */
  get epoch(): number {
    return this.views.header[HeaderWord.RegistryEpoch] as number
  }

  pick(service: Handle, keyHash: number, qos: Qos): Ticket {
    // One argument less to read for the many that name no class.
    return qos === 0 ? this.#pick(this.handle, service, keyHash) : this.#pick(this.handle, service, keyHash, qos)
  }

  /** When the last pick was made, milliseconds on the process clock: the router has read a clock already. */
  get pickedMs(): number {
    const ms = this.#times[Scratch.PickedMsF64] as number
    const pickedMs = ms + this.#offsetMs
    // On a manual clock it is not a number, and stays so.
    return this.#measured < MEASUREMENTS || Number.isNaN(pickedMs) ? this.#measure(ms) : pickedMs
  }

  #measure(ms: number): number {
    const now = nowMs()
    this.#measured++
    // The clocks are read one after the other, so any measurement is too large by the time between.
    if (!(now - ms > this.#offsetMs)) this.#offsetMs = now - ms
    return now
  }

  complete(ticket: Ticket, outcome: Outcome, latencyUs: number): number {
    return this.#complete(this.handle, ticket, outcome, latencyUs)
  }

  /** A rejection that said for how long. */
  completeRejected(ticket: Ticket, latencyUs: number, retryAfterMs: number): number {
    return this.binding.completeRejected(this.handle, ticket, latencyUs, retryAfterMs)
  }

  completeMany(tickets: Float64Array, count: number, outcome: Outcome): number {
    return this.#completeMany(this.handle, tickets, count, outcome)
  }

  /** Requests that are with an instance now, or 0 when the handle is stale. One read of shared memory. */
  inFlight(instance: Handle): number {
    const at = (instance & SLOT_MASK) * INSTANCE_WORDS
    const { instances } = this.views
    return instances[at + InstanceWord.Handle] === instance ? (instances[at + InstanceWord.InFlight] as number) : 0
  }

  /** The error for a status that `lastError` explains: everything but the hot functions. */
  error(status: number, what: string, details?: ErrorDetails): LinkmeshError {
    return errorOfStatus(this.binding, status, what, details)
  }

  must<T extends number>(result: T, what: string): T {
    if (result < 0) throw errorOfStatus(this.binding, result, what)
    return result
  }
}

/** Slot of a handle. */
export function slotOf(handle: Handle): number {
  return handle & SLOT_MASK
}
