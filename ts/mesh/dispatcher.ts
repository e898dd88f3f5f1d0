/**
 * The way of a request: name → pick → the handler here or the lane to its thread → complete → answer, retry or error.
 *
 * The path to a handler in this thread makes one `pick` and one `complete`, and allocates the promise, the call and the
 * context. Everything rarer (waiting for a slot, retries, cancellation) lives in its own method off that path.
 */
import { type Handle, Outcome, Qos, Scratch, Status, type Ticket } from '../binding/contract.js'
import { noteAttempt } from '../dead-letters/give-up.js'
import { errorOf, LinkmeshError, NoInstanceError, TimeoutError } from '../errors.js'
import type { Handler, RequestOptions, StreamOptions } from '../service.js'
import { Call, type ServiceEntry } from './call.js'
import { nowMs } from './clock.js'
import { Context } from './context.js'
import { type Core, slotOf } from './core.js'
import { COMPLETE, PICK, publishComplete, publishPick } from './diagnostics.js'
import { KeyOrder } from './key-order.js'
import { Ledger } from './ledger.js'
import { Hedges } from './hedge.js'
import { ServiceNames } from './names.js'
import { failureOf, refusalOf, retryAfterOf, retryAllowed } from './outcomes.js'
import { readOptions } from './request-options.js'
import { inheritTrace, type TraceContext, type Tracing, withTrace } from './trace.js'
import { Waits } from './waits.js'

/** A handler that runs in this thread. */
export interface LocalInstance {
  readonly handle: Handle
  readonly service: string
  readonly handler: Handler
  /** Requests it works on now. */
  active: number
}

/** What carries requests to other threads. */
export interface RemotePath {
  /** Sends the picked request. Throws when it cannot be encoded; answers false when the thread takes nothing any more. */
  send(call: Call): boolean
  /** Tells the other thread that nobody waits any more, and forgets the call. */
  abandon(call: Call): void
}

export class Dispatcher {
  readonly core: Core
  remote: RemotePath | undefined = undefined
  /** Calls without an answer, and handlers at work. */
  outstanding = 0
  active = 0
  /** Called whenever either falls to zero while the mesh closes. */
  onQuiet: (() => void) | undefined = undefined
  /** Called when this thread did something that listeners may hear of. */
  onChange: (() => void) | undefined = undefined

  /** Called with every request that ends with an error, when the mesh keeps dead letters. */
  onGiveUp: ((call: Call, error: unknown) => void) | undefined = undefined

  readonly waits: Waits
  readonly #order: KeyOrder
  readonly #ledger: Ledger
  readonly hedges: Hedges
  readonly #names: ServiceNames
  readonly #locals: (LocalInstance | undefined)[] = []
  /** Tickets of answers that are completed together. */
  readonly #done = new Float64Array(256)
  #doneCount = 0

  constructor(core: Core) {
    this.core = core
    this.#names = new ServiceNames(core)
    this.waits = new Waits(core, this)
    this.#order = new KeyOrder(core, this)
    this.#ledger = new Ledger(core, this.waits)
    this.hedges = new Hedges(this)
  }

  // --- names and handlers -------------------------------------------------------------------------------

  service(name: string): ServiceEntry {
    return this.#names.get(name)
  }

  /** Forgets what is known of a name, so that this thread's own change is seen by its next request. */
  forget(name: string): void {
    this.#names.forget(name)
    this.onChange?.()
  }

  addLocal(handle: Handle, service: string, handler: Handler): LocalInstance {
    const local = { handle, service, handler, active: 0 }
    this.#locals[slotOf(handle)] = local
    return local
  }

  removeLocal(local: LocalInstance): void {
    if (this.#locals[slotOf(local.handle)] === local) this.#locals[slotOf(local.handle)] = undefined
  }

  local(instance: Handle): LocalInstance | undefined {
    const local = this.#locals[slotOf(instance)]
    return local !== undefined && local.handle === instance ? local : undefined
  }

  // --- a request ----------------------------------------------------------------------------------------

  /** Checks the arguments and builds the call; nothing is sent yet. */
  prepare(
    name: string,
    body: unknown,
    options: RequestOptions | StreamOptions | undefined,
    parent: Context | undefined,
    stream: boolean,
  ): Call {
    if (this.core.closed) throw this.#closedError()
    const call = new Call(this, this.service(name), body, stream)
    if (options !== undefined) readOptions(call, options, this.core.binding)
    if (parent !== undefined) {
      call.parent = parent
      call.metadata = inheritTrace(call.metadata, parent.metadata)
      if (call.qos === Qos.Default) call.qos = parent.class
    }
    return call
  }

  /** Starts the first attempt. Never throws: a failure is the call's answer. */
  launch(call: Call): void {
    this.outstanding++
    if (this.core.tracing !== undefined && !call.slotOnly) beginSpan(call, this.core.tracing)
    const { parent, signal } = call
    if (parent !== undefined) {
      call.deadline = nowMs() + call.timeoutMs
      if (parent.deadline < call.deadline) call.deadline = parent.deadline
      parent.adopt(call)
      if (call.settled) return
    }
    if (signal !== undefined) {
      if (signal.aborted) {
        this.cancel(call, signal.reason)
        return
      }
      signal.addEventListener('abort', call)
    }
    const { guarantees } = call
    if (guarantees?.ordered === true) this.#order.enter(call, guarantees)
    else this.attempt(call)
  }

  attempt(call: Call): void {
    if (call.settled) return
    const { core } = this
    if (core.closed) {
      this.fail(call, this.#closedError())
      return
    }
    const ticket = core.pick(call.service.handle, call.keyHash, call.qos)
    if (ticket <= 0) {
      if (call.deadline === Number.POSITIVE_INFINITY) call.deadline = nowMs() + call.timeoutMs
      this.#refused(call, ticket)
      return
    }
    if (call.deadline === Number.POSITIVE_INFINITY) call.deadline = core.pickedMs + call.timeoutMs
    this.deliver(call, ticket, core.scratch[Scratch.Instance] as number, core.scratch[Scratch.Thread] as number)
  }

  /** Hands the request to the picked instance. */
  deliver(call: Call, ticket: Ticket, instance: Handle, thread: number): void {
    call.ticket = ticket
    call.instance = instance
    call.thread = thread
    if (this.onGiveUp !== undefined || call.redriven || call.span !== undefined) call.pickedAtMs = nowMs()
    if (PICK.hasSubscribers) {
      publishPick({ service: call.service.name, ticket, instance, thread, attempt: call.attempt, key: call.key })
    }
    if (call.slotOnly) {
      // The ticket is the answer; whoever asked completes it.
      call.ticket = 0
      this.#finish(call, undefined)
      call.resolve({ ticket, instance })
      return
    }
    if (call.service.hedges) this.hedges.watch(call)
    if (thread === this.core.thread) {
      this.#runHere(call)
      return
    }
    if (thread === 0) {
      this.complete(call, Outcome.Cancelled)
      this.fail(
        call,
        new LinkmeshError(
          'LM_INVALID_ARGUMENT',
          `an instance of ${call.service.name} has an address: reach it by mesh.route('${call.service.name}') and a client of its protocol`,
          { field: 'service' },
        ),
      )
      return
    }
    this.#runThere(call)
  }

  #runHere(call: Call): void {
    const local = this.local(call.instance)
    if (local === undefined) {
      // Picked just before this thread took the handler away.
      this.failed(call, new NoInstanceError(`an instance of ${call.service.name} left`), Outcome.Unreachable)
      return
    }
    const context = new Context(
      this.core.mesh,
      call.service.name,
      call.key,
      call.metadata,
      call.attempt,
      call.stream ? Number.POSITIVE_INFINITY : call.deadline,
      call.qos,
    )
    context.guarantees = call.guarantees
    call.context = context
    let result: unknown
    this.active++
    local.active++
    try {
      result = this.run(local, call.body, context)
    } catch (error) {
      this.#released(local)
      this.failed(call, error, failureOf(error))
      return
    }
    if (isThenable(result)) {
      this.core.deadlines.add(call)
      void this.#settle(call, local, call.ticket, result)
      return
    }
    this.#released(local)
    this.#answered(call, result)
  }

  async #settle(call: Call, local: LocalInstance, ticket: Ticket, result: PromiseLike<unknown>): Promise<void> {
    let value: unknown
    try {
      value = await result
    } catch (error) {
      this.#released(local)
      // Settled meanwhile by its deadline or its caller: nobody waits, and the ticket is closed.
      if (!call.settled && call.ticket === ticket) this.failed(call, error, failureOf(error))
      return
    }
    this.#released(local)
    if (!call.settled && call.ticket === ticket) this.#answered(call, value)
    else if (isAsyncIterable(value)) void value[Symbol.asyncIterator]().return?.()
  }

  /** Runs a handler, within a span when there is a tracer; a repeat with an idempotency key has the first one's answer. */
  run(local: LocalInstance, body: unknown, context: Context): unknown {
    const guarantees = context.guarantees
    const key = guarantees?.idempotencyKey
    return key === undefined
      ? this.#handle(local, body, context)
      : this.#ledger.run(local.handle, key, guarantees?.fingerprint, () => this.#handle(local, body, context))
  }

  #handle(local: LocalInstance, body: unknown, context: Context): unknown {
    const { tracing } = this.core
    return tracing === undefined
      ? local.handler(body, context)
      : tracing.handle(context, () => local.handler(body, context))
  }

  #released(local: LocalInstance): void {
    this.active--
    local.active--
    if (this.onQuiet !== undefined) this.onQuiet()
  }

  #answered(call: Call, value: unknown): void {
    if (call.stream) {
      this.opened(call, iteratorOf(value))
      return
    }
    if (isAsyncIterable(value)) {
      void value[Symbol.asyncIterator]().return?.()
      this.failed(call, streamMisuse(call.service.name), Outcome.Ok)
      return
    }
    this.succeeded(call, value)
  }

  #runThere(call: Call): void {
    let sent: boolean
    try {
      if (this.remote === undefined)
        throw new LinkmeshError('LM_INTERNAL', `thread ${call.thread} cannot be reached by this backend`)
      sent = this.remote.send(call)
    } catch (error) {
      this.complete(call, Outcome.Cancelled)
      this.fail(call, error)
      return
    }
    if (sent) {
      // The lanes wind the wheel on their next turn: most answers are there before it needs a timer.
      this.core.deadlines.put(call)
      return
    }
    this.failed(
      call,
      new LinkmeshError('LM_THREAD_ENDED', `the thread of an instance of ${call.service.name} has ended`),
      Outcome.Unreachable,
    )
  }

  // --- answers ------------------------------------------------------------------------------------------

  /** The attempt went well. */
  succeeded(call: Call, value: unknown): void {
    this.complete(call, Outcome.Ok)
    this.#finish(call, undefined)
    call.resolve(value)
  }

  /**
   * As {@link succeeded}, for the answers of one look into the inbox: {@link completeTogether} follows before anybody
   * hears of them, since promises tell their news when this turn's code has ended.
   */
  succeededTogether(call: Call, value: unknown): void {
    const { ticket } = call
    if (COMPLETE.hasSubscribers || ticket === 0 || call.span !== undefined) {
      this.succeeded(call, value)
      return
    }
    call.ticket = 0
    this.#done[this.#doneCount++] = ticket
    if (this.#doneCount === this.#done.length) this.completeTogether()
    this.#finish(call, undefined)
    call.resolve(value)
  }

  completeTogether(): void {
    if (this.#doneCount === 0) return
    this.core.completeMany(this.#done, this.#doneCount, Outcome.Ok)
    this.#doneCount = 0
    if (this.waits.size > 0) this.waits.takeSoon()
  }

  /** A stream began: its ticket stays open until it ends. */
  opened(call: Call, items: AsyncIterator<unknown>): void {
    call.open = true
    // From here on the stream has no deadline of its own, yet it keeps the process alive.
    this.core.deadlines.remove(call)
    call.deadline = Number.POSITIVE_INFINITY
    this.core.deadlines.add(call)
    call.resolve(items)
  }

  /** An open stream ended; `error` undefined when it ended well. */
  ended(call: Call, error: unknown): void {
    if (call.settled) return
    this.complete(call, error === undefined ? Outcome.Ok : failureOf(error))
    this.#finish(call, error)
  }

  /** The attempt failed: try again if that is safe and allowed, else tell the caller. */
  failed(call: Call, error: unknown, outcome: Outcome): void {
    this.complete(call, outcome, outcome === Outcome.Rejected ? retryAfterOf(error) : 0)
    if (this.onGiveUp !== undefined || call.redriven) noteAttempt(this.core, call, error)
    call.context = undefined
    if (!call.open && call.attempt <= call.retries && retryAllowed(call, error, outcome) && this.#again(call)) return
    this.fail(call, error)
  }

  #again(call: Call): boolean {
    const { binding, handle } = this.core
    const backoffMs = binding.retry(handle, call.service.handle, call.attempt)
    if (backoffMs < 0 || nowMs() + backoffMs >= call.deadline) return false
    call.attempt++
    call.instance = 0
    this.core.deadlines.add(call)
    // A timer of its own is fine here: failures are rare and the budget bounds them.
    setTimeout(() => this.attempt(call), backoffMs)
    return true
  }

  /** `retryAfterMs`: what a rejection said, or 0. `latencyUs`: how long it took if that is known, else -1. */
  complete(call: Call, outcome: Outcome, retryAfterMs = 0, latencyUs = -1): void {
    const { ticket } = call
    if (ticket === 0) return
    call.ticket = 0
    if (retryAfterMs > 0) this.core.completeRejected(ticket, latencyUs, retryAfterMs)
    else if (call.span === undefined || outcome === Outcome.Cancelled) this.core.complete(ticket, outcome, latencyUs)
    else completeTraced(this.core, call, ticket, outcome, call.span.context)
    // The slot may have gone to a request of this very thread: no need to sleep and be woken for it.
    if (this.waits.size > 0) this.waits.takeSoon()
    if (outcome !== Outcome.Ok) this.onChange?.()
    if (COMPLETE.hasSubscribers) {
      const { service, instance, attempt } = call
      publishComplete({ service: service.name, ticket, instance, attempt }, outcome)
    }
  }

  /** The caller's answer is an error. */
  fail(call: Call, error: unknown): void {
    if (call.settled) return
    const { open, onOpenEnd } = call
    // Nothing may be thrown, too: it is a failure all the same.
    this.#finish(call, error ?? new Error(`${error} was thrown`))
    if (this.onGiveUp !== undefined && !call.redriven) this.onGiveUp(call, error)
    if (open) onOpenEnd?.(error)
    else call.reject(error)
  }

  #finish(call: Call, error: unknown): void {
    call.settled = true
    call.span?.end(error, call.attempt)
    call.hedge?.ended(call)
    this.outstanding--
    this.core.deadlines.remove(call)
    call.signal?.removeEventListener('abort', call)
    call.parent?.release(call)
    if (call.guarantees !== undefined && call.guarantees.turn !== 0) this.#order.leave(call, call.guarantees, error)
    if (this.onQuiet !== undefined) this.onQuiet()
  }

  // --- refusals and waits -------------------------------------------------------------------------------

  #refused(call: Call, status: number): void {
    if (status === Status.StaleHandle && call.service.epoch !== -1) {
      // The service was removed, and perhaps defined again under the same name.
      this.#names.forget(call.service.name)
      try {
        const again = this.service(call.service.name)
        if (again.handle !== call.service.handle) {
          call.service = again
          this.attempt(call)
          return
        }
      } catch (error) {
        this.fail(call, error)
        return
      }
    }
    if (status === Status.Saturated && call.service.queueLimit > 0) {
      const status = this.waits.add(call)
      this.onChange?.()
      if (status !== 0) this.fail(call, refusalOf(this.core, call.service.name, status))
      return
    }
    this.fail(call, refusalOf(this.core, call.service.name, status))
  }

  /**
   * A slot for somebody else's transport. Rejects with what the router said, `TimeoutError` or `CancelledError`;
   * a slot that comes too late goes back.
   */
  waitForSlot(
    service: ServiceEntry,
    keyHash: number,
    timeoutMs: number,
    signal: AbortSignal | undefined,
    qos: Qos,
  ): Promise<{ ticket: Ticket; instance: Handle }> {
    const call = new Call(this, service, undefined, false)
    call.slotOnly = true
    call.keyHash = keyHash
    call.timeoutMs = timeoutMs
    call.signal = signal
    call.qos = qos
    this.launch(call)
    return call.promise as Promise<{ ticket: Ticket; instance: Handle }>
  }

  // --- giving up ----------------------------------------------------------------------------------------

  expire(call: Call): void {
    if (call.settled) return
    const delivered = call.ticket !== 0
    const error = new TimeoutError(`${call.service.name} did not answer within ${call.timeoutMs} ms`, {
      outcome: delivered ? 'unknown' : 'not-delivered',
    })
    if (delivered && (this.onGiveUp !== undefined || call.redriven)) noteAttempt(this.core, call, error)
    this.#leave(call, Outcome.Timeout, error)
    this.fail(call, error)
  }

  cancel(call: Call, reason: unknown): void {
    if (call.settled) return
    const error = reason instanceof LinkmeshError && reason.code === 'LM_CLOSED' ? reason : call.cancelledError(reason)
    this.#leave(call, Outcome.Cancelled, error)
    this.fail(call, error)
  }

  /** Another instance answered first: this one is given up, after `elapsedUs` if that is to be learned from, else -1. */
  overtaken(call: Call, reason: LinkmeshError, elapsedUs: number): void {
    this.#leave(call, Outcome.Cancelled, reason, elapsedUs)
    this.#finish(call, undefined)
  }

  #leave(call: Call, outcome: Outcome, error: LinkmeshError, elapsedUs = -1): void {
    if (call.waitId !== 0) this.waits.remove(call)
    const { context } = call
    this.complete(call, outcome, 0, elapsedUs)
    if (call.requestId !== 0) this.remote?.abandon(call)
    context?.abort(error)
  }

  /** Ends every call that is still without an answer: each of them waits in the wheel. */
  cancelAll(reason: LinkmeshError): void {
    for (const entry of this.core.deadlines.entries()) if (entry instanceof Call) this.cancel(entry, reason)
  }

  #closedError(): LinkmeshError {
    return errorOf('LM_CLOSED', `mesh ${this.core.name} is closed`)
  }
}

function beginSpan(call: Call, tracing: Tracing): void {
  const span = tracing.request(call.service.name, call.metadata, call.parent)
  call.span = span
  call.metadata = withTrace(call.metadata, span.context)
}

/** The latency that is counted gets the trace's name, when the trace is recorded: the very same number is both. */
function completeTraced(core: Core, call: Call, ticket: Ticket, outcome: Outcome, context: TraceContext): void {
  const latencyUs = Math.max(0, Math.trunc((nowMs() - call.pickedAtMs) * 1_000))
  core.complete(ticket, outcome, latencyUs)
  if ((context.flags & SAMPLED) === 0) return
  const { binding, handle } = core
  binding.serviceExemplar(handle, call.service.handle, latencyUs, context.traceId, context.spanId, Date.now())
}

/** Bit of the trace's flags. */
const SAMPLED = 1

export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function'
}

export function isAsyncIterable(value: unknown): value is AsyncIterable<unknown> {
  return typeof value === 'object' && value !== null && Symbol.asyncIterator in value
}

/** The items of a handler's result: its async iterable, or the result as the only item. */
export function iteratorOf(value: unknown): AsyncIterator<unknown> {
  if (isAsyncIterable(value)) return value[Symbol.asyncIterator]()
  return (async function* one() {
    yield value
  })()
}

export function streamMisuse(service: string): LinkmeshError {
  return new LinkmeshError(
    'LM_INVALID_ARGUMENT',
    `${service} answers with a stream: take it by mesh.stream(), not mesh.request()`,
    {
      field: 'service',
      outcome: 'delivered',
    },
  )
}
