/** Up to 256 operations in one frame, one promise for all. */
import {
  BATCH_OPERATIONS,
  Completion,
  INLINE_BYTES,
  MemoryOp,
  PAGE_DATA_BYTES,
  RECORD_BYTES,
  Submission,
} from '../binding/contract-memory.js'
import { errorOf, type LinkmeshError } from '../errors.js'
import { BatchError, BatchResults } from './batch-results.js'
import { checkBody, checkLength, checkOffset, checkOperand, checkTarget, checkWord } from './checks.js'
import { nameOf, type OperationOptions, Pending } from './operation.js'
import type { Operations } from './operations.js'
import { bodyRoom } from './page.js'
import type { Records } from './records.js'

/** The batch on its way. */
class BatchPending extends Pending {
  readonly promise: Promise<BatchResults>
  readonly changes: boolean
  /** Its own once it is registered, until it is over. */
  records: Records | undefined = undefined
  readonly #region: string
  readonly #results: BatchResults
  #resolve!: (results: BatchResults) => void
  #reject!: (reason: unknown) => void
  #remaining: number

  constructor(
    operations: Operations,
    options: OperationOptions | undefined,
    timeoutMs: number,
    results: BatchResults,
    changes: boolean,
    region: string,
  ) {
    super(operations, options, timeoutMs)
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    this.#results = results
    this.changes = changes
    this.#region = region
    this.#remaining = results.length
  }

  complete(first: number, end: number): number {
    const { u32 } = this.operations.page
    const { requestId: id, records } = this
    // Whoever is not under way gets no completions.
    if (records === undefined) return first + RECORD_BYTES
    let record = first
    // Bytes that lie one after the other here and there are copied at once.
    let from = 0
    let to = 0
    let bytes = 0
    do {
      const word = record >>> 2
      const index = u32[word + Completion.Index] as number
      if (u32[word + Completion.Status] !== 0) this.#failed(records, record, index)
      else if (records.op(index) !== MemoryOp.Read) this.#done(records, record, index)
      else {
        const at = u32[word + Completion.Data] as number
        const target = this.#results.targets[index]
        if (target !== undefined) this.#fill(record, index, target)
        else {
          const place = (this.#results.places as Uint32Array)[2 * index] as number
          if (at - from !== place - to || at - from !== bytes) {
            this.#copy(from, to, bytes)
            from = at
            to = place
            bytes = 0
          }
          bytes += bodyRoom(u32[word + Completion.Length] as number)
        }
      }
      this.#remaining--
      record += RECORD_BYTES
    } while (record < end && u32[(record >>> 2) + Completion.Id] === id)
    this.#copy(from, to, bytes)
    if (this.#remaining === 0) this.#settle()
    return record
  }

  #fill(record: number, index: number, target: Uint8Array): void {
    try {
      this.operations.page.take(record, target)
    } catch (cause) {
      const words = `the memory of its target is detached: it was transferred to another thread`
      this.#results.errors ??= new Map()
      this.#results.errors.set(
        index,
        errorOf('LM_INVALID_ARGUMENT', words, { field: 'target', outcome: 'delivered', cause }),
      )
    }
  }

  #copy(from: number, to: number, bytes: number): void {
    if (bytes > 0) this.operations.page.copy(from, this.#results.block as Uint8Array, to, bytes)
  }

  #done(records: Records, record: number, index: number): void {
    if (records.op(index) === MemoryOp.Write) return
    const results = this.#results
    results.values ??= new BigUint64Array(results.length)
    results.values[index] = this.operations.page.u64[(record >>> 3) + Completion.Value64] as bigint
  }

  #failed(records: Records, record: number, index: number): void {
    const what = nameOf(records.op(index), records.offset(index), records.length(index), this.#region)
    this.#results.errors ??= new Map()
    this.#results.errors.set(index, this.operations.failure(record, what))
  }

  #settle(): void {
    const results = this.#results
    this.operations.end(this)
    if (results.errors === undefined) {
      this.#resolve(results)
      return
    }
    const first = Math.min(...results.errors.keys())
    this.#reject(new BatchError(results.errors.get(first) as LinkmeshError, first, results))
  }

  override finish(): void {
    super.finish()
    if (this.records === undefined) return
    this.operations.giveBack(this.records)
    this.records = undefined
  }

  reject(error: unknown): void {
    this.#reject(error)
  }

  describe(): string {
    return `a batch of ${this.#results.length} operations on ${this.#region}`
  }
}

/**
 * Collects operations and sends them in one frame. They are executed in the order of the calls, and each on its own: one
 * that fails does not stop the next. Bodies and targets are read and written when the batch is flushed.
 */
export class Batch {
  readonly #operations: Operations
  readonly #remote: number
  readonly #region: string
  readonly #timeoutMs: number
  #length = 0
  #changes = false
  /** Records as they will lie in the page; those of one that was flushed are the next one's. */
  #records: Records | undefined = undefined
  #targets: (Uint8Array | undefined)[] = []
  #places: Uint32Array | undefined = undefined
  #blockBytes = 0
  #bodies: Uint8Array[] = []
  #bodyBytes = 0
  #answerBytes = 0

  /** @internal */
  constructor(operations: Operations, remote: number, region: string, timeoutMs: number) {
    this.#operations = operations
    this.#remote = remote
    this.#region = region
    this.#timeoutMs = timeoutMs
  }

  /** Operations so far. */
  get length(): number {
    return this.#length
  }

  /**
   * Reads up to 64 KiB, into `target` or into memory that such reads of the batch share; returns the index of its answer.
   */
  read(offset: number, length: number, target?: Uint8Array): number {
    checkOffset(offset)
    checkLength(length, INLINE_BYTES)
    const into = target === undefined ? undefined : checkTarget(target, length)
    const answerBytes = room('length', this.#answerBytes, length)
    const index = this.#add(MemoryOp.Read, offset, length)
    this.#answerBytes = answerBytes
    this.#targets[index] = into
    if (into === undefined) {
      this.#places ??= new Uint32Array(2 * BATCH_OPERATIONS)
      this.#places[2 * index] = this.#blockBytes
      this.#places[2 * index + 1] = length
      this.#blockBytes += bodyRoom(length)
    }
    return index
  }

  /** Writes up to 64 KiB. The bytes are taken when the batch is flushed. */
  write(offset: number, bytes: Uint8Array): number {
    checkOffset(offset)
    const body = checkBody(bytes, INLINE_BYTES)
    const bodyBytes = room('bytes', this.#bodyBytes, body.length)
    const index = this.#add(MemoryOp.Write, offset, body.length)
    ;(this.#records as Records).set(index, Submission.Data, this.#bodyBytes)
    this.#bodyBytes = bodyBytes
    this.#bodies.push(body)
    this.#changes = true
    return index
  }

  fetchAdd(offset: number, operand: bigint): number {
    checkWord(offset)
    const a = checkOperand(operand, 'operand')
    return this.#atomic(MemoryOp.FetchAdd, offset, a, 0n)
  }

  compareAndSwap(offset: number, expected: bigint, desired: bigint): number {
    checkWord(offset)
    const a = checkOperand(expected, 'expected')
    const b = checkOperand(desired, 'desired')
    return this.#atomic(MemoryOp.CompareAndSwap, offset, a, b)
  }

  #atomic(op: number, offset: number, a: bigint, b: bigint): number {
    const index = this.#add(op, offset, 8)
    ;(this.#records as Records).operands(index, a, b)
    this.#changes = true
    return index
  }

  /**
   * Sends what was collected and empties the batch. Rejects with a {@link BatchError} when any operation failed; its
   * `results` say which ones were done.
   */
  flush(options?: OperationOptions): Promise<BatchResults> {
    const count = this.#length
    const records = this.#records
    if (records === undefined) return Promise.resolve(new BatchResults(0, [], undefined, undefined))
    const operations = this.#operations
    const block = this.#blockBytes === 0 ? undefined : new Uint8Array(this.#blockBytes)
    const results = new BatchResults(count, this.#targets, this.#places, block)
    let pending: BatchPending
    try {
      const timeoutMs = options?.timeoutMs ?? this.#timeoutMs
      pending = new BatchPending(operations, options, timeoutMs, results, this.#changes, this.#region)
      operations.begin(pending)
    } catch (error) {
      return Promise.reject(error)
    }
    pending.records = records
    operations.submitAll(pending, records, count, this.#bodies, this.#bodyBytes)
    this.#length = 0
    this.#changes = false
    this.#records = undefined
    this.#targets = []
    this.#places = undefined
    this.#blockBytes = 0
    this.#bodies = []
    this.#bodyBytes = 0
    this.#answerBytes = 0
    return pending.promise
  }

  #add(op: number, offset: number, length: number): number {
    const index = this.#length
    if (index >= BATCH_OPERATIONS)
      throw errorOf('LM_LIMIT_EXCEEDED', `a batch has at most ${BATCH_OPERATIONS} operations; flush it`, {
        field: 'batch',
        limit: BATCH_OPERATIONS,
      })
    this.#records ??= this.#operations.lend()
    this.#records.add(index, op, this.#remote, offset, length)
    this.#length = index + 1
    return index
  }
}

function room(field: string, used: number, length: number): number {
  const then = used + bodyRoom(length)
  if (then > PAGE_DATA_BYTES)
    throw errorOf('LM_LIMIT_EXCEEDED', `a batch carries at most ${PAGE_DATA_BYTES} bytes each way; flush it`, {
      field,
      limit: PAGE_DATA_BYTES,
    })
  return then
}
