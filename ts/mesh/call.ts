/** One request from the moment it is made until its caller has an answer, through all of its attempts. */
import { type Handle, Qos, type QosClass, type Ticket } from '../binding/contract.js'
import type { LetterAttempt } from '../binding/contract-journal.js'
import { CancelledError } from '../errors.js'
import type { Cancellable, Context } from './context.js'
import type { DeadlineEntry } from './deadlines.js'
import type { Dispatcher } from './dispatcher.js'
import type { Guarantees } from './guarantees.js'
import type { Hedge } from './hedge.js'
import type { Outbox } from './outbox.js'
import type { RemoteItems } from './remote-items.js'
import type { RequestSpan } from './trace.js'

/** What a name resolves to; read again when the registry has changed. */
export interface ServiceEntry {
  readonly name: string
  readonly handle: Handle
  readonly timeoutMs: number
  readonly idempotent: boolean
  readonly queueLimit: number
  /** Requests with one key come one after the other. */
  readonly ordered: boolean
  /** Class of requests that name none. */
  readonly qosClass: QosClass
  /** Slow requests may go to a second instance. */
  readonly hedges: boolean
  /** Registry epoch that was last looked at. */
  readonly epoch: number
  readonly readAtMs: number
}

// One shared executor: a promise per request, and no closure of ours.
let resolveOut: (value: unknown) => void
let rejectOut: (reason: unknown) => void
const executor = (resolve: (value: unknown) => void, reject: (reason: unknown) => void): void => {
  resolveOut = resolve
  rejectOut = reject
}

export class Call implements DeadlineEntry, Cancellable {
  readonly promise: Promise<unknown>
  readonly resolve: (value: unknown) => void
  readonly reject: (reason: unknown) => void

  readonly dispatcher: Dispatcher
  service: ServiceEntry
  readonly body: unknown
  readonly stream: boolean

  // Options; set before the launch.
  timeoutMs: number
  key: string | undefined = undefined
  keyHash = 0
  qos: Qos = Qos.Default
  metadata: Readonly<Record<string, string>> | undefined = undefined
  signal: AbortSignal | undefined = undefined
  idempotent: boolean
  retries = 255
  guarantees: Guarantees | undefined = undefined
  window = 32
  /** Only a slot is wanted: `route.wait()`. */
  slotOnly = false
  parent: Context | undefined = undefined
  /** With a tracer, from the launch on. */
  span: RequestSpan | undefined = undefined

  // The wheel's.
  deadline = Number.POSITIVE_INFINITY
  wheelNext: DeadlineEntry | undefined = undefined
  wheelPrevious: DeadlineEntry | undefined = undefined
  wheelBucket = -1

  // Progress.
  settled = false
  /** 1 for the first attempt. */
  attempt = 1
  ticket: Ticket = 0
  instance: Handle = 0
  thread = 0
  /** Id of the wait for a free slot, or 0. */
  waitId = 0
  /** While a second instance may be asked. */
  hedge: Hedge | undefined = undefined
  /** The handler's context while it runs in this thread. */
  context: Context | undefined = undefined
  /** A stream whose first answer has come: the ticket stays open until its end. */
  open = false
  onOpenEnd: ((error: unknown) => void) | undefined = undefined

  // For the dead letters and spans; untouched while there are none.
  /** When the attempt was handed to its instance. */
  pickedAtMs = 0
  /** Attempts that failed. */
  attempts: LetterAttempt[] | undefined = undefined
  /** A dead letter that is sent again, or a hedge: its failure is told to whoever sent it. */
  redriven = false

  // On a lane.
  outbox: Outbox | undefined = undefined
  /** Place of the request's frame in the lane (free-running), or -1 while it is not in the lane's memory. */
  position = -1
  requestId = 0
  items: RemoteItems | undefined = undefined

  constructor(dispatcher: Dispatcher, service: ServiceEntry, body: unknown, stream: boolean) {
    this.promise = new Promise(executor)
    this.resolve = resolveOut
    this.reject = rejectOut
    this.dispatcher = dispatcher
    this.service = service
    this.body = body
    this.stream = stream
    this.timeoutMs = service.timeoutMs
    this.idempotent = service.idempotent
  }

  onDeadline(): void {
    this.dispatcher.expire(this)
  }

  cancel(reason: unknown): void {
    this.dispatcher.cancel(this, reason)
  }

  /** The caller's AbortSignal: the call itself is the listener, so no closure is made. */
  handleEvent(): void {
    this.cancel(this.signal?.reason)
  }

  cancelledError(reason: unknown): CancelledError {
    return new CancelledError(`the request to ${this.service.name} was cancelled`, {
      outcome: this.ticket === 0 ? 'not-delivered' : 'unknown',
      cause: reason,
    })
  }
}
