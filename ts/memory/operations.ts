/**
 * The operations of one thread: records go into the page, one flush per microtask submits them all and takes what has
 * completed.
 *
 * Waiting has three stages, the cheapest first: a flush drives the engine itself for some microseconds (a hot peer answers
 * within them, and no thread is woken); then the thread looks once per turn of the event loop for the poll window; then it
 * sleeps until it is woken. A loop of awaited operations never leaves the microtask queue while its answers come at once,
 * so after {@link SPINS_IN_A_ROW} of them one answer is left to the event loop, where timers and sockets get their turn.
 * Memory of this host answers without a spin: there it is one flush of {@link FLUSHES_IN_A_ROW}.
 */
import {
  BATCH_OPERATIONS,
  Completion,
  type CompletionFlag,
  PAGE_DATA_BYTES,
  PAGE_RECORDS,
  RECORD_BYTES,
  SUBMIT_DATA_AT,
  Submission,
} from '../binding/contract-memory.js'
import { type DeliveryOutcome, errorOf, type LinkmeshError } from '../errors.js'
import { nowMs } from '../mesh/clock.js'
import type { Core } from '../mesh/core.js'
import type { Poller } from '../mesh/lanes.js'
import { Slots } from '../mesh/slots.js'
import { soon } from '../mesh/soon.js'
import { errorOfCompletion, type OperationOptions, type Pending } from './operation.js'
import { bodyRoom, OperationPage } from './page.js'
import { Records } from './records.js'

/** How long a flush may drive the engine, microseconds. */
const SPIN_US = 30
/** Flushes that may spin before an answer is left to the event loop. */
const SPINS_IN_A_ROW = 16
/** Flushes without a turn of the event loop after which one waits for it: about as long as those spins. */
const FLUSHES_IN_A_ROW = 256
/** Spins in vain after which spinning rests, and flushes until it is tried again. */
const VAIN_SPINS = 8
const REST = 64
/** Memory of batches that is kept for the next ones. */
const SPARE_RECORDS = 8
/** Operations of one thread that may be outstanding. */
export const MAX_OUTSTANDING = 65_536

export class Operations implements Poller {
  readonly page: OperationPage
  readonly #core: Core
  readonly #wakeLoop: () => void
  readonly #slots = new Slots<Pending>('memory operations', MAX_OUTSTANDING)
  /** Records and bytes of bodies in the page that were not submitted. */
  #count = 0
  #dataUsed = 0
  #scheduled = false
  /** Began since the last flush: whoever completes in it needs no timer. */
  #fresh: (Pending | undefined)[] = []
  /** How many of them: setting an array's length is a call of the runtime, which each flush would pay. */
  #freshCount = 0
  /** Since the last turn of the event loop. */
  #flushes = 0
  #vain = 0
  #rest = 0
  readonly #spare: Records[] = []

  /** `wakeLoop`: begins to look into the inbox on every turn of the event loop. */
  constructor(core: Core, page: ArrayBuffer, wakeLoop: () => void) {
    this.#core = core
    this.page = new OperationPage(page)
    this.#wakeLoop = wakeLoop
  }

  get outstanding(): number {
    return this.#slots.size
  }

  /** Registers what waits; its id goes into the records. Throws when too much is outstanding or its signal has fired. */
  begin(pending: Pending): void {
    if (this.#core.closed) throw errorOf('LM_CLOSED', `mesh ${this.#core.name} is closed`)
    pending.listen()
    try {
      this.#slots.add(pending)
    } catch (error) {
      pending.finish()
      throw error
    }
    this.#fresh[this.#freshCount++] = pending
  }

  /**
   * Whether an operation may be done within the call, in memory that is mapped here: nothing before it waits to be
   * submitted, and the event loop has had its turn.
   */
  mayBeDoneAtOnce(options: OperationOptions | undefined): boolean {
    return this.#count === 0 && options?.signal === undefined && ++this.#flushes <= FLUSHES_IN_A_ROW
  }

  /** Makes room for records and bodies; whatever is written after this and before the next call goes in one frame. */
  reserve(records: number, bodyBytes: number): void {
    if (this.#count + records > PAGE_RECORDS || this.#dataUsed + bodyBytes > PAGE_DATA_BYTES) this.#submit(0)
  }

  /** Memory for a batch. */
  lend(): Records {
    return this.#spare.pop() ?? new Records()
  }

  /** The batch is over. */
  giveBack(records: Records): void {
    if (this.#spare.length < SPARE_RECORDS) this.#spare.push(records)
  }

  /** Hands over `count` records of a batch and the bodies of its writes. */
  submitAll(pending: Pending, records: Records, count: number, bodies: readonly Uint8Array[], bodyBytes: number): void {
    this.reserve(count, bodyBytes)
    const { u32, f64 } = this.page
    const first = this.page.submission(this.#count)
    const { requestId, timeoutMs } = pending
    const dataUsed = this.#dataUsed
    let at = dataUsed
    for (const body of bodies) {
      this.page.put(at, body)
      at += bodyRoom(body.length)
    }
    this.page.bytes.set(
      count === BATCH_OPERATIONS ? records.bytes : records.bytes.subarray(0, count * RECORD_BYTES),
      first,
    )
    for (let index = 0; index < count; index++) {
      const record = first + index * RECORD_BYTES
      u32[(record >>> 2) + Submission.Id] = requestId
      f64[(record >>> 3) + Submission.TimeoutF64] = timeoutMs
    }
    if (dataUsed > 0 && bodies.length > 0)
      for (let index = 0; index < count; index++) {
        const word = ((first + index * RECORD_BYTES) >>> 2) + Submission.Data
        u32[word] = (u32[word] as number) + dataUsed
      }
    u32[((first + (count - 1) * RECORD_BYTES) >>> 2) + Submission.More] = 0
    this.#dataUsed = at
    this.#count += count
    this.schedule()
  }

  /** Writes one record; call {@link reserve} before. `body` is copied. */
  record(
    pending: Pending,
    op: number,
    remote: number,
    offset: number,
    length: number,
    a: bigint,
    b: bigint,
    body: Uint8Array | undefined,
    index: number,
    more: number,
  ): void {
    const { u32, f64, u64 } = this.page
    const at = this.page.submission(this.#count++)
    const word = at >>> 2
    const long = at >>> 3
    u32[word + Submission.Op] = op
    u32[word + Submission.Id] = pending.requestId
    u32[word + Submission.Remote] = remote
    u32[word + Submission.Length] = length
    f64[long + Submission.OffsetF64] = offset
    f64[long + Submission.TimeoutF64] = pending.timeoutMs
    u64[long + Submission.A64] = a
    u64[long + Submission.B64] = b
    u32[word + Submission.More] = more
    u32[word + Submission.Index] = index
    if (body !== undefined) {
      const start = this.#dataUsed
      u32[word + Submission.Data] = start
      const { bytes } = this.page
      if (length <= 64) {
        const from = SUBMIT_DATA_AT + start
        for (let byte = 0; byte < length; byte++) bytes[from + byte] = body[byte] as number
      } else this.page.put(start, body)
      this.#dataUsed = start + bodyRoom(length)
    }
    this.schedule()
  }

  /** One flush at the end of this run of microtasks. */
  schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    soon(this.#flush)
  }

  readonly #flush = (): void => {
    if (this.#core.closed) return
    // `poll` does it instead.
    if (++this.#flushes > FLUSHES_IN_A_ROW) {
      this.#wakeLoop()
      return
    }
    this.#scheduled = false
    this.#submit(this.#spinUs())
    if (this.#slots.size > 0) this.#wakeLoop()
  }

  #spinUs(): number {
    if (this.#flushes > SPINS_IN_A_ROW) return 0
    if (this.#rest > 0) {
      this.#rest--
      return 0
    }
    return SPIN_US
  }

  /** Hands over what is written; how many completions there were. */
  #submit(spinUs: number): number {
    const count = this.#count
    this.#count = 0
    this.#dataUsed = 0
    const completed = this.#core.binding.memoryFlush(this.#core.handle, count, spinUs)
    if (spinUs > 0) {
      if (completed > 0) this.#vain = 0
      else if (++this.#vain >= VAIN_SPINS) {
        this.#vain = 0
        this.#rest = REST
      }
    }
    this.#take(completed)
    if (this.#freshCount > 0) this.#watch()
    return Math.max(completed, 0)
  }

  /** Sets the deadlines of those that go on waiting. */
  #watch(): void {
    const fresh = this.#fresh
    const count = this.#freshCount
    this.#freshCount = 0
    let now: number | undefined
    for (let at = 0; at < count; at++) {
      const pending = fresh[at] as Pending
      fresh[at] = undefined
      if (pending.settled) continue
      // A hot peer's answers have come: nobody asks for the time.
      now ??= nowMs()
      if (pending.timeoutMs !== Number.POSITIVE_INFINITY) pending.deadline = now + pending.timeoutMs
      this.#core.deadlines.add(pending)
    }
    // What a burst has made long is given back.
    if (count > PAGE_RECORDS) this.#fresh = []
  }

  /** Looks for completions; how many there were. Called once per turn of the event loop while the thread looks. */
  poll(): number {
    this.#flushes = 0
    // A flush that was put off is done here.
    this.#scheduled = false
    return this.#slots.size === 0 ? 0 : this.#submit(0)
  }

  #take(first: number): void {
    let completed = first
    for (;;) {
      if (completed < 0) {
        this.endAll(this.#core.error(completed, 'the node'))
        return
      }
      // Settling runs no user code at once (promises do that later), so the page stays as it is during the loop.
      const end = this.page.completion(completed)
      let record = this.page.completion(0)
      while (record < end) record = this.#completed(record, end)
      if (completed < PAGE_RECORDS) return
      completed = this.#core.binding.memoryFlush(this.#core.handle, 0, 0)
    }
  }

  /** Where the next one begins. */
  #completed(record: number, end: number): number {
    const { u32 } = this.page
    const pending = this.#slots.get(u32[(record >>> 2) + Completion.Id] as number)
    // Given up meanwhile.
    if (pending === undefined) return record + RECORD_BYTES
    return pending.complete(record, end)
  }

  /** Nothing more is expected for it. */
  end(pending: Pending): void {
    this.#slots.remove(pending)
    this.#core.deadlines.remove(pending)
    pending.finish()
  }

  /** Gives it up and says what is known of its fate; undefined when it has completed and only was not heard yet. */
  giveUp(pending: Pending): DeliveryOutcome | undefined {
    if (pending.settled) return undefined
    const { binding, handle } = this.#core
    if (this.#count > 0) this.#submit(0)
    if (pending.settled) return undefined
    const left = binding.memoryCancel(handle, pending.requestId)
    if (left < 0) {
      this.poll()
      if (pending.settled) return undefined
    }
    this.end(pending)
    return left === 0 ? 'not-delivered' : pending.changes ? 'unknown' : 'not-delivered'
  }

  hasFailed(record: number): boolean {
    return this.page.u32[(record >>> 2) + Completion.Status] !== 0
  }

  /** The error of the completion at `record`, which has failed. */
  failure(record: number, what: string): LinkmeshError {
    const { u32, f64 } = this.page
    const word = record >>> 2
    return errorOfCompletion(
      what,
      (u32[word + Completion.Status] as number) | 0,
      u32[word + Completion.Flags] as number,
      u32[word + Completion.Field] as number,
      f64[(record >>> 3) + Completion.LimitF64] as number,
    )
  }

  flag(record: number, bit: (typeof CompletionFlag)[keyof typeof CompletionFlag]): boolean {
    return ((this.page.u32[(record >>> 2) + Completion.Flags] as number) & bit) !== 0
  }

  /** Moves the bytes of a completed bulk read to where they belong. */
  takeBulk(pending: Pending, target: Uint8Array): void {
    const { binding, handle } = this.#core
    this.#core.must(binding.memoryTake(handle, pending.requestId, target), 'the bytes of a bulk read')
  }

  get core(): Core {
    return this.#core
  }

  /** The mesh closes, or its node is gone: everything that waits ends with this error. */
  endAll(error: LinkmeshError): void {
    for (const pending of this.#slots.filter(() => true)) {
      this.end(pending)
      pending.reject(error)
    }
  }
}
