/**
 * One thread's hold on a journal: appends gathered into one crossing per microtask, acknowledgements that come back as
 * runs, and questions.
 */
import type { Binding, Handle } from '../binding/contract.js'
import { Status } from '../binding/contract.js'
import type { JournalOpened, JournalOptions, JournalRequest } from '../binding/contract-journal.js'
import { codeOf, errorOf, errorOfRejection, errorOfStatus, type LinkmeshError } from '../errors.js'
import type { Core } from '../mesh/core.js'

/** Bytes that are gathered before they cross. */
const GATHER_BYTES = 1 << 20
/** Records, the same. Few, so that the disk begins with the first of many appends while this thread encodes the others. */
const GATHER_RECORDS = 128
/** Runs read by one call. */
const RUNS = 64
/** Longest interval of the runtime; only there to keep the process alive. */
const FOR_EVER_MS = 2_147_483_647

type Resolve = (sequence: number) => void
type Reject = (error: LinkmeshError) => void

/** Appends that crossed together: their tickets follow each other. */
interface Batch {
  first: number
  resolves: Resolve[]
  rejects: Reject[]
  /** How many have an outcome. */
  settled: number
}

// One shared executor: a promise per append, and no closure of ours.
let resolveOut: Resolve
let rejectOut: Reject
const executor = (resolve: Resolve, reject: Reject): void => {
  resolveOut = resolve
  rejectOut = reject
}

export class JournalStore {
  /** False when nothing outlives the process. */
  readonly durable: boolean
  readonly opened: JournalOpened

  readonly #binding: Binding
  readonly #journal: Handle
  readonly #what: string
  readonly #append: Binding['journalAppend']
  #bytes = Buffer.allocUnsafeSlow(GATHER_BYTES)
  readonly #lengths = new Uint32Array(GATHER_RECORDS)
  #texts: string[] = []
  /** UTF-16 units of what was gathered. */
  #units = 0
  #resolves: Resolve[] = []
  #rejects: Reject[] = []
  #flushing = false
  /** In the order of their tickets; the first is the oldest. */
  #batches: Batch[] = []
  #oldest = 0
  #outstanding = 0
  /** The newest append: when it has an outcome, all before it have one. */
  #last: Promise<number> | undefined
  #alive: NodeJS.Timeout | undefined
  readonly #runs = new Float64Array(RUNS * 3)
  #closed = false
  #onIdle: (() => void) | undefined

  private constructor(binding: Binding, opened: JournalOpened, what: string) {
    this.#binding = binding
    this.#journal = opened.handle
    this.#append = binding.journalAppend
    this.#what = what
    this.opened = opened
    this.durable = opened.durable
    const status = binding.journalOnAck(opened.handle, () => this.#acknowledged())
    if (status < 0) throw errorOfStatus(binding, status, what)
  }

  /** `options` undefined: joins what another thread opened, or begins in memory. */
  static async open(
    core: Core,
    room: 'dead-letters' | 'audit',
    options: JournalOptions | undefined,
  ): Promise<JournalStore> {
    const what = room === 'audit' ? 'the audit trail' : 'the dead letters'
    try {
      const text = await core.binding.journalOpen(
        core.handle,
        room,
        options === undefined ? '' : JSON.stringify(options),
      )
      return new JournalStore(core.binding, JSON.parse(text) as JournalOpened, what)
    } catch (cause) {
      throw errorOfRejection(cause, what)
    }
  }

  /** Queues a record; resolves to its sequence when it is durable. */
  append(text: string): Promise<number> {
    const promise = new Promise<number>(executor)
    if (this.#closed) {
      rejectOut(errorOf('LM_CLOSED', `${this.#what} are closed`))
      return promise
    }
    const { maxRecordBytes } = this.opened
    // Three bytes a unit at most.
    if (text.length * 3 > maxRecordBytes) {
      const bytes = text.length > maxRecordBytes ? text.length : Buffer.byteLength(text)
      if (bytes > maxRecordBytes) {
        rejectOut(this.#tooLarge(bytes))
        return promise
      }
    }
    if ((this.#units + text.length) * 3 > this.#bytes.length) this.#makeRoom(text.length * 3)
    this.#last = promise
    this.#units += text.length
    this.#texts.push(text)
    this.#rejects.push(rejectOut)
    if (this.#outstanding++ === 0) this.#alive ??= setInterval(() => {}, FOR_EVER_MS)
    if (this.#resolves.push(resolveOut) === GATHER_RECORDS) this.#flush()
    else if (!this.#flushing) {
      this.#flushing = true
      queueMicrotask(this.#flushSoon)
    }
    return promise
  }

  #flushSoon = (): void => {
    this.#flushing = false
    this.#flush()
  }

  #makeRoom(wanted: number): void {
    const [resolve, reject] = [resolveOut, rejectOut]
    this.#flush()
    if (wanted > this.#bytes.length) this.#bytes = Buffer.allocUnsafeSlow(wanted)
    resolveOut = resolve
    rejectOut = reject
  }

  #tooLarge(bytes: number): LinkmeshError {
    const limit = this.opened.maxRecordBytes
    return errorOf('LM_LIMIT_EXCEEDED', `${this.#what}: a record has at most ${limit} bytes, not ${bytes}`, {
      field: 'body',
      limit,
    })
  }

  /** Puts what was gathered into the buffer: one string, and one look whether any of it is longer than its units. */
  #encode(texts: string[]): void {
    const all = texts.length === 1 ? (texts[0] as string) : texts.join('')
    const ascii = this.#bytes.write(all, 0) === all.length
    for (let at = 0; at < texts.length; at++) {
      const text = texts[at] as string
      this.#lengths[at] = ascii ? text.length : Buffer.byteLength(text)
    }
  }

  #flush(): void {
    const count = this.#resolves.length
    if (count === 0) return
    const resolves = this.#resolves
    const rejects = this.#rejects
    this.#encode(this.#texts)
    this.#resolves = []
    this.#rejects = []
    this.#texts = []
    this.#units = 0
    const first = this.#append(this.#journal, this.#bytes, this.#lengths, count)
    if (this.#bytes.length > GATHER_BYTES) this.#bytes = Buffer.allocUnsafeSlow(GATHER_BYTES)
    if (first > 0) {
      this.#batches.push({ first, resolves, rejects, settled: 0 })
      return
    }
    const error = errorOfStatus(this.#binding, first, this.#what, { outcome: 'not-delivered' })
    for (const reject of rejects) reject(error)
    this.#settled(count)
  }

  #acknowledged(): void {
    if (this.#closed && this.#outstanding === 0) return
    for (;;) {
      const count = this.#binding.journalAcks(this.#journal, this.#runs)
      for (let index = 0; index < count * 3; index += 3) {
        this.#run(this.#runs[index] as number, this.#runs[index + 1] as number, this.#runs[index + 2] as number)
      }
      if (count < RUNS) return
    }
  }

  /** Tickets `first` to `first + count - 1` have an outcome: the sequence of the first, or a status. */
  #run(first: number, count: number, outcome: number): void {
    const end = first + count
    const error = outcome < 0 ? this.#refused(outcome) : undefined
    let done = 0
    while (this.#oldest < this.#batches.length) {
      const batch = this.#batches[this.#oldest] as Batch
      const size = batch.resolves.length
      const until = Math.min(size, end - batch.first)
      if (until <= batch.settled) break
      for (let at = batch.settled; at < until; at++) {
        const ticket = batch.first + at
        if (error !== undefined) (batch.rejects[at] as Reject)(error)
        else if (ticket < first) (batch.rejects[at] as Reject)(this.#refused(Status.NotFound))
        else (batch.resolves[at] as Resolve)(outcome + ticket - first)
      }
      done += until - batch.settled
      batch.settled = until
      if (until < size) break
      this.#oldest++
    }
    if (this.#oldest === this.#batches.length) {
      this.#batches = []
      this.#oldest = 0
    } else if (this.#oldest > 1_024) {
      this.#batches = this.#batches.slice(this.#oldest)
      this.#oldest = 0
    }
    this.#settled(done)
  }

  #refused(status: number): LinkmeshError {
    const code = codeOf(status)
    return errorOf(code, `${this.#what}: the record is not durable (${code})`, {
      // After a device failed, nobody can tell what of the last group is on it.
      outcome: code === 'LM_IO' || code === 'LM_NOT_FOUND' ? 'unknown' : 'not-delivered',
    })
  }

  #settled(count: number): void {
    this.#outstanding -= count
    if (this.#outstanding > 0) return
    clearInterval(this.#alive)
    this.#alive = undefined
    this.#onIdle?.()
  }

  /** Asks, and reads the answer. */
  async ask<Answer>(request: JournalRequest): Promise<Answer> {
    const alive = setInterval(() => {}, FOR_EVER_MS)
    try {
      // What was appended before is part of what is asked about.
      if (this.#outstanding > 0) await this.#last?.catch(() => undefined)
      return JSON.parse(await this.#binding.journalAsk(this.#journal, JSON.stringify(request))) as Answer
    } catch (cause) {
      throw errorOfRejection(cause, this.#what)
    } finally {
      clearInterval(alive)
    }
  }

  /** Waits until every append has its outcome, then lets go. `whole`: closes the journal for all threads. */
  async close(whole: boolean): Promise<void> {
    if (this.#closed) return
    this.#flush()
    this.#closed = true
    if (this.#outstanding > 0) {
      await new Promise<void>((resolve) => {
        this.#onIdle = resolve
      })
    }
    try {
      if (whole) await this.ask({ op: 'close' })
    } finally {
      this.#binding.journalClose(this.#journal)
    }
  }
}
