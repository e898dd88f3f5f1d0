/** Up to 256 operations in one frame, one promise for all. */
import { BATCH_OPERATIONS, Completion, INLINE_BYTES, MemoryOp, PAGE_DATA_BYTES } from '../binding/contract-memory.js'
import { errorOf, LinkmeshError } from '../errors.js'
import { checkBody, checkLength, checkOffset, checkOperand, checkTarget, checkWord } from './checks.js'
import { nameOf, type OperationOptions, Pending } from './operation.js'
import type { Operations } from './operations.js'
import { bodyRoom } from './page.js'

/** Some operations of a batch failed; the others were done. Which, and how: {@link BatchError.results}. */
export class BatchError extends LinkmeshError {
  static override readonly brand: symbol = Symbol.for('linkmesh.error.batch')
  readonly results: BatchResults

  constructor(first: LinkmeshError, index: number, results: BatchResults) {
    super(first.code, `operation ${index} of a batch of ${results.length}: ${first.message}`, {
      retryable: first.retryable,
      outcome: first.outcome,
      field: first.field,
      limit: first.limit,
      cause: first,
    })
    this.results = results
  }
}
Object.defineProperty(BatchError.prototype, BatchError.brand, { value: true })
Object.defineProperty(BatchError.prototype, 'name', { value: 'BatchError', configurable: true, writable: true })

/** The answers of a batch, by the index that each call returned. */
export class BatchResults {
  readonly length: number
  /** @internal */
  readonly values: BigUint64Array
  /** @internal */
  readonly bodies: (Uint8Array | undefined)[]
  /** @internal */
  errors: Map<number, LinkmeshError> | undefined

  /** @internal */
  constructor(length: number) {
    this.length = length
    this.values = new BigUint64Array(length)
    this.bodies = []
  }

  /** What the word was before the fetch-and-add or the compare-and-swap. */
  value(index: number): bigint {
    this.#must(index)
    return this.values[index] as bigint
  }

  /** The bytes of a read. */
  bytes(index: number): Uint8Array {
    this.#must(index)
    const bytes = this.bodies[index]
    if (bytes === undefined)
      throw new LinkmeshError('LM_INVALID_ARGUMENT', `operation ${index} of the batch is not a read`, {
        field: 'index',
      })
    return bytes
  }

  /** Why an operation failed; undefined when it was done. */
  error(index: number): LinkmeshError | undefined {
    return this.errors?.get(index)
  }

  #must(index: number): void {
    if (!Number.isInteger(index) || index < 0 || index >= this.length)
      throw new LinkmeshError('LM_INVALID_ARGUMENT', `the batch had ${this.length} operations, none is ${index}`, {
        field: 'index',
        limit: this.length - 1,
      })
    const error = this.error(index)
    if (error !== undefined) throw error
  }
}

interface Entry {
  readonly op: number
  readonly offset: number
  readonly length: number
  readonly a: bigint
  readonly b: bigint
  readonly body: Uint8Array | undefined
  readonly target: Uint8Array | undefined
}

/** The batch on its way. */
class BatchPending extends Pending {
  readonly promise: Promise<BatchResults>
  readonly changes: boolean
  #resolve!: (results: BatchResults) => void
  #reject!: (reason: unknown) => void
  readonly #entries: readonly Entry[]
  readonly #region: string
  readonly #results: BatchResults
  #remaining: number

  constructor(
    operations: Operations,
    options: OperationOptions | undefined,
    timeoutMs: number,
    entries: readonly Entry[],
    region: string,
  ) {
    super(operations, options, timeoutMs)
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    this.#entries = entries
    this.#region = region
    this.#remaining = entries.length
    this.#results = new BatchResults(entries.length)
    this.changes = entries.some(({ op }) => op !== MemoryOp.Read)
  }

  complete(record: number): void {
    const { operations } = this
    const { page } = operations
    const index = page.u32[(record >>> 2) + Completion.Index] as number
    const entry = this.#entries[index]
    if (entry === undefined) return
    const results = this.#results
    if (page.u32[(record >>> 2) + Completion.Status] !== 0) {
      const what = nameOf(entry.op, entry.offset, entry.length, this.#region)
      results.errors ??= new Map()
      results.errors.set(index, operations.failure(record, what) as LinkmeshError)
    } else if (entry.op === MemoryOp.Read) results.bodies[index] = page.take(record, entry.target)
    else if (entry.op !== MemoryOp.Write)
      results.values[index] = page.u64[(record >>> 3) + Completion.Value64] as bigint
    if (--this.#remaining > 0) return
    operations.end(this)
    if (results.errors === undefined) {
      this.#resolve(results)
      return
    }
    const first = Math.min(...results.errors.keys())
    this.#reject(new BatchError(results.errors.get(first) as LinkmeshError, first, results))
  }

  reject(error: unknown): void {
    this.#reject(error)
  }

  describe(): string {
    return `a batch of ${this.#entries.length} operations on ${this.#region}`
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
  #entries: Entry[] = []
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
    return this.#entries.length
  }

  /** Reads up to 64 KiB; returns the index of its answer. */
  read(offset: number, length: number, target?: Uint8Array): number {
    checkOffset(offset)
    checkLength(length, INLINE_BYTES)
    const into = target === undefined ? undefined : checkTarget(target, length)
    this.#answerBytes = this.#room('length', this.#answerBytes, length)
    return this.#add({ op: MemoryOp.Read, offset, length, a: 0n, b: 0n, body: undefined, target: into })
  }

  /** Writes up to 64 KiB. The bytes are taken when the batch is flushed. */
  write(offset: number, bytes: Uint8Array): number {
    checkOffset(offset)
    const body = checkBody(bytes, INLINE_BYTES)
    this.#bodyBytes = this.#room('bytes', this.#bodyBytes, body.length)
    return this.#add({ op: MemoryOp.Write, offset, length: body.length, a: 0n, b: 0n, body, target: undefined })
  }

  fetchAdd(offset: number, operand: bigint): number {
    checkWord(offset)
    const a = checkOperand(operand, 'operand')
    return this.#add({ op: MemoryOp.FetchAdd, offset, length: 8, a, b: 0n, body: undefined, target: undefined })
  }

  compareAndSwap(offset: number, expected: bigint, desired: bigint): number {
    checkWord(offset)
    const a = checkOperand(expected, 'expected')
    const b = checkOperand(desired, 'desired')
    return this.#add({ op: MemoryOp.CompareAndSwap, offset, length: 8, a, b, body: undefined, target: undefined })
  }

  /**
   * Sends what was collected and empties the batch. Rejects with a {@link BatchError} when any operation failed; its
   * `results` say which ones were done.
   */
  flush(options?: OperationOptions): Promise<BatchResults> {
    const entries = this.#entries
    if (entries.length === 0) return Promise.resolve(new BatchResults(0))
    const operations = this.#operations
    let pending: BatchPending
    try {
      const timeoutMs = options?.timeoutMs ?? this.#timeoutMs
      pending = new BatchPending(operations, options, timeoutMs, entries, this.#region)
      operations.begin(pending)
    } catch (error) {
      return Promise.reject(error)
    }
    operations.reserve(entries.length, this.#bodyBytes)
    const last = entries.length - 1
    for (let index = 0; index <= last; index++) {
      const { op, offset, length, a, b, body } = entries[index] as Entry
      operations.record(pending, op, this.#remote, offset, length, a, b, body, index, index < last ? 1 : 0)
    }
    this.#entries = []
    this.#bodyBytes = 0
    this.#answerBytes = 0
    return pending.promise
  }

  #add(entry: Entry): number {
    if (this.#entries.length >= BATCH_OPERATIONS)
      throw errorOf('LM_LIMIT_EXCEEDED', `a batch has at most ${BATCH_OPERATIONS} operations; flush it`, {
        field: 'batch',
        limit: BATCH_OPERATIONS,
      })
    return this.#entries.push(entry) - 1
  }

  #room(field: string, used: number, length: number): number {
    const then = used + bodyRoom(length)
    if (then > PAGE_DATA_BYTES)
      throw errorOf('LM_LIMIT_EXCEEDED', `a batch carries at most ${PAGE_DATA_BYTES} bytes each way; flush it`, {
        field,
        limit: PAGE_DATA_BYTES,
      })
    return then
  }
}
