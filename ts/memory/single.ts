/** Operations that stand alone: one record, one promise. */
import { Completion, CompletionFlag, MemoryOp, RECORD_BYTES } from '../binding/contract-memory.js'
import { nameOf, type OperationOptions, Pending, type TransferOptions } from './operation.js'
import type { Operations } from './operations.js'

/** The remote region of an operation. */
export interface Place {
  readonly name: string
  /** Its memory is mapped here, as far as is known. */
  near: boolean
}

/** What a versioned read found. */
export interface VersionedRead {
  readonly bytes: Uint8Array
  /** The version word after the bytes were read. */
  readonly version: bigint
  /** True when a writer was at work: the bytes may be of two versions. Read again. */
  readonly torn: boolean
}

// One shared executor: a promise per operation, and no closure of ours.
let resolveOut: (value: never) => void
let rejectOut: (reason: unknown) => void
const executor = (resolve: (value: never) => void, reject: (reason: unknown) => void): void => {
  resolveOut = resolve
  rejectOut = reject
}

export abstract class Single<T> extends Pending {
  readonly promise: Promise<T>
  readonly #resolve: (value: T) => void
  readonly #reject: (reason: unknown) => void
  readonly op: number
  readonly offset: number
  readonly length: number
  readonly region: Place

  constructor(
    operations: Operations,
    options: OperationOptions | undefined,
    timeoutMs: number,
    op: number,
    offset: number,
    length: number,
    region: Place,
  ) {
    super(operations, options, timeoutMs)
    this.promise = new Promise<T>(executor as never)
    this.#resolve = resolveOut as (value: T) => void
    this.#reject = rejectOut
    this.op = op
    this.offset = offset
    this.length = length
    this.region = region
  }

  get changes(): boolean {
    return this.op === MemoryOp.Write || this.op === MemoryOp.FetchAdd || this.op === MemoryOp.CompareAndSwap
  }

  /** The answer of an operation that went well. */
  protected abstract value(record: number): T

  complete(record: number): number {
    this.#completed(record)
    return record + RECORD_BYTES
  }

  #completed(record: number): void {
    const { operations } = this
    if (operations.flag(record, CompletionFlag.Progress)) {
      this.progress(Number(operations.page.u64[(record >>> 3) + Completion.Value64]))
      return
    }
    // The words for its message cost as much as the rest of this: only for what has failed.
    if (operations.hasFailed(record)) {
      const error = operations.failure(record, this.describe())
      operations.end(this)
      this.#reject(error)
      return
    }
    if (operations.flag(record, CompletionFlag.Nearby)) this.region.near = true
    let value: T
    try {
      value = this.value(record)
    } catch (cause) {
      operations.end(this)
      this.#reject(cause)
      return
    }
    operations.end(this)
    this.#resolve(value)
  }

  protected progress(_bytes: number): void {}

  reject(error: unknown): void {
    this.#reject(error)
  }

  describe(): string {
    return nameOf(this.op, this.offset, this.length, this.region.name)
  }
}

export class Read extends Single<Uint8Array> {
  readonly #target: Uint8Array | undefined
  readonly #onProgress: TransferOptions['onProgress']

  constructor(
    operations: Operations,
    options: TransferOptions | undefined,
    timeoutMs: number,
    offset: number,
    length: number,
    region: Place,
    target: Uint8Array | undefined,
  ) {
    super(operations, options, timeoutMs, MemoryOp.Read, offset, length, region)
    this.#target = target
    this.#onProgress = options?.onProgress
  }

  protected value(record: number): Uint8Array {
    const { operations } = this
    if (!operations.flag(record, CompletionFlag.Bulk)) return operations.page.take(record, this.#target)
    const target = this.#target ?? new Uint8Array(this.length)
    operations.takeBulk(this, target)
    return target
  }

  protected override progress(bytes: number): void {
    tell(this.#onProgress, bytes, this.length)
  }
}

export class Write extends Single<void> {
  readonly #onProgress: TransferOptions['onProgress']

  constructor(
    operations: Operations,
    options: TransferOptions | undefined,
    timeoutMs: number,
    offset: number,
    length: number,
    region: Place,
  ) {
    super(operations, options, timeoutMs, MemoryOp.Write, offset, length, region)
    this.#onProgress = options?.onProgress
  }

  protected value(): void {}

  protected override progress(bytes: number): void {
    tell(this.#onProgress, bytes, this.length)
  }
}

/** Fetch-and-add, compare-and-swap: the answer is what the word was before. */
export class Atomic extends Single<bigint> {
  protected value(record: number): bigint {
    return this.operations.page.u64[(record >>> 3) + Completion.Value64] as bigint
  }
}

export class Fence extends Single<void> {
  protected value(): void {}
}

export class Versioned extends Single<VersionedRead> {
  readonly #target: Uint8Array | undefined

  constructor(
    operations: Operations,
    options: OperationOptions | undefined,
    timeoutMs: number,
    offset: number,
    length: number,
    region: Place,
    target: Uint8Array | undefined,
  ) {
    super(operations, options, timeoutMs, MemoryOp.ReadVersioned, offset, length, region)
    this.#target = target
  }

  protected value(record: number): VersionedRead {
    const { page } = this.operations
    const before = page.u64[(record >>> 3) + Completion.Before64] as bigint
    const version = page.u64[(record >>> 3) + Completion.After64] as bigint
    // An odd version is a writer's mark that it is at work.
    return { bytes: page.take(record, this.#target), version, torn: before !== version || (version & 1n) === 1n }
  }
}

/** Runs the listener later: completions are taken from a page that its own operations would overwrite. */
export function tell(listener: TransferOptions['onProgress'], bytes: number, total: number): void {
  if (listener !== undefined) queueMicrotask(() => listener(bytes, total))
}
