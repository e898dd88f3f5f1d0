/** Memory of another process. */
import { Status } from '../binding/contract.js'
import { BULK_BYTES, INLINE_BYTES, MemoryOp, type RemoteInfo, SyncWord } from '../binding/contract-memory.js'
import { errorOf, LinkmeshError } from '../errors.js'
import { checkTimeout } from '../mesh/checks.js'
import { Batch } from './batch.js'
import { checkBody, checkLength, checkOffset, checkOperand, checkTarget, checkWord } from './checks.js'
import { nameOf, type OperationOptions, type TransferOptions } from './operation.js'
import type { Operations } from './operations.js'
import { bodyRoom } from './page.js'
import { Atomic, Fence, type Place, Read, type Single, tell, Versioned, type VersionedRead, Write } from './single.js'

/** Most bytes of one call: longer transfers go piece by piece. */
const MAX_TRANSFER = 2 ** 40
const DEFAULT_SYNC_MS = 100
const MAX_SYNC_MS = 10_000

export interface VersionedOptions extends OperationOptions {
  /** Where the version word is: a 64-bit counter that writers make odd before they write and even after it. */
  version: number
  target?: Uint8Array
}

export interface SyncOptions {
  /** How long this thread may stand still, milliseconds: more than 0, at most 10,000; default 100. */
  timeoutMs?: number
}

/**
 * A slice of another process's region that a grant opens. Offsets count from the start of that slice.
 *
 * The other process's JavaScript does not run for any of this.
 *
 * # Order
 * Operations of one thread on one remote region are executed in the order of the calls up to 64 KiB each; a longer
 * transfer is on its own, and {@link fence} waits for everything before it. An aligned 8-byte word is never torn. A longer
 * read may meet a write half way: {@link readVersioned} says so. A read of a replicated region that its primary left without
 * an answer is made again by the next one, and may see changes of this thread that were called behind it.
 *
 * # Exactly once
 * An atomic that is answered was applied once, whatever the network did. When the node is lost with an operation in its
 * hands, the error's `outcome` says `unknown`; it is never sent a second time.
 */
export class RemoteRegion implements Place {
  readonly name: string
  /** Id of the node whose memory it is. */
  readonly node: string
  readonly length: number
  readonly rights: RemoteInfo['rights']
  /** @internal */
  near = false
  readonly #operations: Operations
  readonly #handle: number
  readonly #timeoutMs: number
  /** Longest transfer that is one operation; longer ones are split. */
  readonly #pieceBytes: number
  #closed = false

  /** @internal */
  constructor(operations: Operations, info: RemoteInfo, timeoutMs: number, pieceBytes: number) {
    this.#operations = operations
    this.#handle = info.handle
    this.#timeoutMs = timeoutMs
    this.#pieceBytes = pieceBytes
    this.name = info.region
    this.node = info.node
    this.length = info.length
    this.rights = info.rights
  }

  /** How it is reached now, and until when. */
  info(): RemoteInfo {
    this.#mustBeOpen()
    const { binding, handle } = this.#operations.core
    const text = binding.remoteInfo(handle, this.#handle)
    if (text === '') throw this.#closedError()
    return JSON.parse(text) as RemoteInfo
  }

  /**
   * Copies `length` bytes from `offset`, into `target` or an array of their own. More than 64 KiB go as a bulk transfer
   * over a stream of their own, more than 16 MiB piece by piece. Of a replicated region all that is longer goes in pieces of
   * 64 KiB: each is linearizable, the whole is not.
   */
  read(offset: number, length: number, target?: Uint8Array, options?: TransferOptions): Promise<Uint8Array> {
    try {
      this.#mustBeOpen()
      checkOffset(offset)
      checkLength(length, MAX_TRANSFER)
      this.#mustBeInside(offset, length)
      const into = target === undefined ? undefined : checkTarget(target, length)
      if (length <= this.#pieceBytes) return this.#read(offset, length, into, options)
      return this.#readPieces(offset, length, into ?? new Uint8Array(length), options)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  #read(
    offset: number,
    length: number,
    target: Uint8Array | undefined,
    options: TransferOptions | undefined,
  ): Promise<Uint8Array> {
    const operations = this.#operations
    if (this.near && length <= INLINE_BYTES && operations.mayBeDoneAtOnce(options)) {
      const { core } = operations
      const bytes = target ?? new Uint8Array(length)
      const status = core.binding.memoryReadSync(core.handle, this.#handle, offset, bytes, 0)
      if (this.#isDone(status, MemoryOp.Read, offset, length)) return Promise.resolve(bytes)
    }
    const pending = new Read(operations, options, this.#timeoutOf(options), offset, length, this, target)
    operations.begin(pending)
    if (length <= INLINE_BYTES) {
      operations.reserve(1, 0)
      operations.record(pending, MemoryOp.Read, this.#handle, offset, length, 0n, 0n, undefined, 0, 0)
    } else {
      const { binding, handle } = operations.core
      this.#started(
        pending,
        binding.memoryBulkRead(handle, pending.requestId, this.#handle, offset, length, pending.timeoutMs),
      )
    }
    return pending.promise
  }

  async #readPieces(
    offset: number,
    length: number,
    target: Uint8Array,
    options: TransferOptions | undefined,
  ): Promise<Uint8Array> {
    for (let at = 0; at < length; at += this.#pieceBytes) {
      const size = Math.min(this.#pieceBytes, length - at)
      await this.#read(offset + at, size, target.subarray(at, at + size), pieceOf(options, at, length))
      // Only bulk transfers tell of themselves.
      if (size <= INLINE_BYTES) tell(options?.onProgress, at + size, length)
    }
    return target
  }

  /**
   * Copies `bytes` to `offset`. They are taken before the call returns; more than 16 MiB are taken piece by piece. To a
   * replicated region all that is longer than 64 KiB goes in pieces of that, one after the other.
   */
  write(offset: number, bytes: Uint8Array, options?: TransferOptions): Promise<void> {
    try {
      this.#mustBeOpen()
      checkOffset(offset)
      const body = checkBody(bytes, MAX_TRANSFER)
      this.#mustBeInside(offset, body.length)
      if (body.length <= this.#pieceBytes) return this.#write(offset, body, options)
      return this.#writePieces(offset, body.length > BULK_BYTES ? body : body.slice(), options)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  #write(offset: number, body: Uint8Array, options: TransferOptions | undefined): Promise<void> {
    const operations = this.#operations
    const { length } = body
    const pending = new Write(operations, options, this.#timeoutOf(options), offset, length, this)
    operations.begin(pending)
    if (length <= INLINE_BYTES) {
      operations.reserve(1, bodyRoom(length))
      operations.record(pending, MemoryOp.Write, this.#handle, offset, length, 0n, 0n, body, 0, 0)
    } else {
      const { binding, handle } = operations.core
      this.#started(
        pending,
        binding.memoryBulkWrite(handle, pending.requestId, this.#handle, offset, body, pending.timeoutMs),
      )
    }
    return pending.promise
  }

  async #writePieces(offset: number, body: Uint8Array, options: TransferOptions | undefined): Promise<void> {
    for (let at = 0; at < body.length; at += this.#pieceBytes) {
      const piece = body.subarray(at, at + this.#pieceBytes)
      try {
        await this.#write(offset + at, piece, pieceOf(options, at, body.length))
      } catch (cause) {
        throw at === 0 ? cause : partly(cause, at, body.length)
      }
      if (piece.length <= INLINE_BYTES) tell(options?.onProgress, at + piece.length, body.length)
    }
  }

  /** A bulk transfer was handed over, or refused at once. */
  #started<T>(pending: Single<T>, status: number): void {
    const operations = this.#operations
    if (status < 0) {
      operations.end(pending)
      throw operations.core.error(status, pending.describe())
    }
    operations.schedule()
  }

  /** Adds to the 64-bit word at `offset`, wrapping. Resolves to what it was before. */
  fetchAdd(offset: number, operand: bigint, options?: OperationOptions): Promise<bigint> {
    return this.#atomic(MemoryOp.FetchAdd, offset, operand, 'operand', 0n, 'operand', options)
  }

  /**
   * Sets the 64-bit word at `offset` to `desired` if it is `expected`. Resolves to what it was before: it was set exactly
   * when that is `expected`, as with `Atomics.compareExchange`.
   */
  compareAndSwap(offset: number, expected: bigint, desired: bigint, options?: OperationOptions): Promise<bigint> {
    return this.#atomic(MemoryOp.CompareAndSwap, offset, expected, 'expected', desired, 'desired', options)
  }

  #atomic(
    op: number,
    offset: number,
    a: bigint,
    aField: string,
    b: bigint,
    bField: string,
    options: OperationOptions | undefined,
  ): Promise<bigint> {
    try {
      this.#mustBeOpen()
      checkWord(offset)
      this.#mustBeInside(offset, 8)
      const first = checkOperand(a, aField)
      const second = checkOperand(b, bField)
      const operations = this.#operations
      if (this.near && operations.mayBeDoneAtOnce(options)) {
        const { core, page } = operations
        page.u64[SyncWord.Expected64] = first
        page.u64[SyncWord.Desired64] = second
        const status =
          op === MemoryOp.FetchAdd
            ? core.binding.memoryAddSync(core.handle, this.#handle, offset, 0)
            : core.binding.memoryCasSync(core.handle, this.#handle, offset, 0)
        if (this.#isDone(status, op, offset, 8)) return Promise.resolve(page.u64[SyncWord.Previous64] as bigint)
      }
      const pending = new Atomic(operations, options, this.#timeoutOf(options), op, offset, 8, this)
      operations.begin(pending)
      operations.reserve(1, 0)
      operations.record(pending, op, this.#handle, offset, 8, first, second, undefined, 0, 0)
      return pending.promise
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /** Reads up to 64 KiB and the version word around them, so that a write that was under way is noticed. */
  readVersioned(offset: number, length: number, options: VersionedOptions): Promise<VersionedRead> {
    try {
      this.#mustBeOpen()
      checkOffset(offset)
      checkLength(length, INLINE_BYTES)
      this.#mustBeInside(offset, length)
      const version = checkWord(options.version, 'options.version')
      this.#mustBeInside(version, 8, 'options.version')
      const target = options.target === undefined ? undefined : checkTarget(options.target, length)
      const operations = this.#operations
      const pending = new Versioned(operations, options, this.#timeoutOf(options), offset, length, this, target)
      operations.begin(pending)
      operations.reserve(1, 0)
      const { op } = pending
      operations.record(pending, op, this.#handle, offset, length, BigInt(version), 0n, undefined, 0, 0)
      return pending.promise
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /** Resolves when every operation of this thread on this region that began before it is done at the other side. */
  fence(options?: OperationOptions): Promise<void> {
    try {
      this.#mustBeOpen()
      const operations = this.#operations
      const pending = new Fence(operations, options, this.#timeoutOf(options), MemoryOp.Fence, 0, 0, this)
      operations.begin(pending)
      operations.reserve(1, 0)
      operations.record(pending, MemoryOp.Fence, this.#handle, 0, 0, 0n, 0n, undefined, 0, 0)
      return pending.promise
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /** Collects up to 256 operations for one frame. */
  batch(): Batch {
    this.#mustBeOpen()
    return new Batch(this.#operations, this.#handle, this.name, this.#timeoutMs)
  }

  /**
   * Fills `target` (up to 64 KiB) from `offset` within the call. This thread does nothing else meanwhile: for hot peers,
   * where the answer takes less time than a turn of the event loop.
   */
  readSync(offset: number, target: Uint8Array, options?: SyncOptions): void {
    this.#mustBeOpen()
    checkOffset(offset)
    const body = checkBody(target, INLINE_BYTES, 'target')
    this.#mustBeInside(offset, body.length)
    const { core } = this.#operations
    const status = core.binding.memoryReadSync(core.handle, this.#handle, offset, body, syncTimeout(options))
    if (status < 0) throw core.error(status, nameOf(MemoryOp.Read, offset, body.length, this.name))
  }

  /** {@link compareAndSwap} within the call. */
  casSync(offset: number, expected: bigint, desired: bigint, options?: SyncOptions): bigint {
    this.#mustBeOpen()
    checkWord(offset)
    this.#mustBeInside(offset, 8)
    const { core, page } = this.#operations
    page.u64[SyncWord.Expected64] = checkOperand(expected, 'expected')
    page.u64[SyncWord.Desired64] = checkOperand(desired, 'desired')
    const status = core.binding.memoryCasSync(core.handle, this.#handle, offset, syncTimeout(options))
    if (status < 0) throw core.error(status, nameOf(MemoryOp.CompareAndSwap, offset, 8, this.name))
    return page.u64[SyncWord.Previous64] as bigint
  }

  /** Gives the grant back. Operations under way end with `LM_CLOSED`. Does nothing the second time. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    const { core } = this.#operations
    if (!core.closed) core.binding.remoteClose(core.handle, this.#handle)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close()
  }

  /** Whether an operation was done within the call; false when it has to go the long way. */
  #isDone(status: number, op: number, offset: number, length: number): boolean {
    if (status >= 0) return true
    if (status !== Status.NoMatch) throw this.#operations.core.error(status, nameOf(op, offset, length, this.name))
    this.near = false
    return false
  }

  #timeoutOf(options: OperationOptions | undefined): number {
    if (options?.timeoutMs === undefined) return this.#timeoutMs
    return checkTimeout(options.timeoutMs, 'options.timeoutMs')
  }

  #mustBeOpen(): void {
    if (this.#closed || this.#operations.core.closed) throw this.#closedError()
  }

  #closedError(): Error {
    return errorOf('LM_CLOSED', `the remote region ${this.name} is closed`)
  }

  #mustBeInside(offset: number, length: number, field = 'offset'): void {
    if (offset + length <= this.length) return
    throw errorOf(
      'LM_INVALID_ARGUMENT',
      `${length} bytes at ${offset} are not inside the ${this.length} bytes of ${this.name} that are granted`,
      { field: offset > this.length ? field : 'length', limit: this.length },
    )
  }
}

function syncTimeout(options: SyncOptions | undefined): number {
  const timeoutMs = options?.timeoutMs
  if (timeoutMs === undefined) return DEFAULT_SYNC_MS
  if (!(typeof timeoutMs === 'number' && timeoutMs > 0 && timeoutMs <= MAX_SYNC_MS))
    throw errorOf('LM_INVALID_ARGUMENT', `options.timeoutMs must be more than 0 and at most ${MAX_SYNC_MS}`, {
      field: 'options.timeoutMs',
      limit: MAX_SYNC_MS,
    })
  return timeoutMs
}

/** The error of a write whose first pieces are in place, whatever became of the last: it did not leave things as they were. */
function partly(cause: unknown, written: number, total: number): unknown {
  if (!(cause instanceof LinkmeshError)) return cause
  const { code, message, retryable, field, limit, retryAfterMs } = cause
  return errorOf(code, `${message}; the first ${written} of ${total} bytes are written`, {
    outcome: 'unknown',
    ...{ retryable, field, limit, retryAfterMs, cause },
  })
}

/** The options of one piece: its progress counts within the whole. */
function pieceOf(options: TransferOptions | undefined, at: number, total: number): TransferOptions | undefined {
  const { onProgress } = options ?? {}
  if (onProgress === undefined) return options
  return { ...options, onProgress: (bytes) => onProgress(at + bytes, total) }
}
