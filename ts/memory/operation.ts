/** One operation on remote memory, from its submission to its completion. */
import { CompletionField, CompletionFlag, MemoryOp } from '../binding/contract-memory.js'
import { CancelledError, codeOf, errorOf, type LinkmeshError, TimeoutError } from '../errors.js'
import type { DeadlineEntry } from '../mesh/deadlines.js'
import type { Operations } from './operations.js'

/** What every operation may be given. */
export interface OperationOptions {
  /** Gives the operation up. Whether it was applied by then is the error's `outcome`. */
  signal?: AbortSignal
  /** Default 5,000; Infinity for none. */
  timeoutMs?: number
}

export interface TransferOptions extends OperationOptions {
  /** Called as bytes of a transfer of more than 64 KiB go through. */
  onProgress?: (bytes: number, total: number) => void
}

/** What waits for a completion. Both a single operation and a batch are one. */
export abstract class Pending implements DeadlineEntry {
  deadline = Number.POSITIVE_INFINITY
  wheelNext: DeadlineEntry | undefined = undefined
  wheelPrevious: DeadlineEntry | undefined = undefined
  wheelBucket = -1
  requestId = 0
  settled = false
  /** True when giving it up may leave it applied: writes and atomics. */
  abstract readonly changes: boolean
  readonly operations: Operations
  readonly timeoutMs: number
  readonly #signal: AbortSignal | undefined

  constructor(operations: Operations, options: OperationOptions | undefined, timeoutMs: number) {
    this.operations = operations
    this.timeoutMs = timeoutMs
    this.#signal = options?.signal
  }

  /**
   * The completion whose record begins at byte `record` of the page, and those right after it that are of the same
   * operation, up to byte `end`. Returns where the next one begins.
   */
  abstract complete(record: number, end: number): number
  abstract reject(error: unknown): void
  /** Words for messages: `read of 64 bytes at 0 of scores`. */
  abstract describe(): string

  /** Begins to listen to the signal. Throws when it has fired already. */
  listen(): void {
    const signal = this.#signal
    if (signal === undefined) return
    if (signal.aborted) throw new CancelledError(`${this.describe()} was cancelled`, { cause: signal.reason })
    signal.addEventListener('abort', this)
  }

  /** Ends the waiting: nothing that comes later is heard. */
  finish(): void {
    this.settled = true
    this.#signal?.removeEventListener('abort', this)
  }

  onDeadline(): void {
    const outcome = this.operations.giveUp(this)
    if (outcome !== undefined)
      this.reject(new TimeoutError(`${this.describe()} did not end within ${this.timeoutMs} ms`, { outcome }))
  }

  /** The caller's AbortSignal: the operation itself is the listener. */
  handleEvent(): void {
    const outcome = this.operations.giveUp(this)
    if (outcome !== undefined)
      this.reject(new CancelledError(`${this.describe()} was cancelled`, { outcome, cause: this.#signal?.reason }))
  }
}

const FIELDS = new Map<number, string>([
  [CompletionField.Offset, 'offset'],
  [CompletionField.Length, 'length'],
  [CompletionField.Remote, 'remote'],
  [CompletionField.Rights, 'rights'],
  [CompletionField.Version, 'version'],
])

/** The error for a completion that failed. */
export function errorOfCompletion(
  what: string,
  status: number,
  flags: number,
  field: number,
  limit: number,
): LinkmeshError {
  const code = codeOf(status)
  const outcome =
    (flags & CompletionFlag.Unknown) !== 0
      ? 'unknown'
      : (flags & CompletionFlag.Delivered) !== 0
        ? 'delivered'
        : 'not-delivered'
  const name = FIELDS.get(field)
  const bound = name !== undefined && limit > 0 ? limit : undefined
  const words = WORDS[code] ?? 'was refused by the node that holds the memory'
  return errorOf(code, `${what} ${words}${bound === undefined ? '' : ` (${name}: at most ${bound})`}`, {
    field: name,
    limit: bound,
    outcome,
    retryable: (flags & CompletionFlag.Retryable) !== 0,
  })
}

const WORDS: Partial<Record<string, string>> = {
  LM_INVALID_ARGUMENT: 'is not possible: it lies outside the granted range or is not aligned',
  LM_LIMIT_EXCEEDED: 'is too large',
  LM_STALE_HANDLE: 'went to a remote region that is closed',
  LM_DENIED: 'is not allowed by the grant',
  LM_REVOKED: 'was refused: the region or the grant has been revoked',
  LM_EXPIRED: 'was refused: the grant has run out',
  LM_NODE_LOST: 'lost the node that holds the memory',
  LM_DEADLINE_EXCEEDED: 'did not end in time',
  LM_SATURATED: 'was refused: too much is under way to that node',
  LM_CLOSED: 'was ended: the mesh is closed',
}

/** Words for an operation in messages. */
export function nameOf(op: number, offset: number, length: number, region: string): string {
  switch (op) {
    case MemoryOp.Read:
      return `read of ${length} bytes at ${offset} of ${region}`
    case MemoryOp.Write:
      return `write of ${length} bytes at ${offset} of ${region}`
    case MemoryOp.FetchAdd:
      return `fetch-and-add at ${offset} of ${region}`
    case MemoryOp.CompareAndSwap:
      return `compare-and-swap at ${offset} of ${region}`
    case MemoryOp.ReadVersioned:
      return `versioned read of ${length} bytes at ${offset} of ${region}`
    default:
      return `fence of ${region}`
  }
}
