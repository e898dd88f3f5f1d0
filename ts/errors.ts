/**
 * One error family for everything linkmesh reports.
 *
 * Catch by class (`instanceof` also works across two copies of the package), or by the stable {@link LinkmeshError.code}.
 * What a caller may do next is data, not guesswork: {@link LinkmeshError.retryable} and {@link LinkmeshError.outcome}.
 */
import { type Binding, type ErrorData, Status } from './binding/contract.js'

/** Stable codes. A code is never renamed and never reused. */
export type ErrorCode =
  | 'LM_STALE_HANDLE'
  | 'LM_INVALID_ARGUMENT'
  | 'LM_LIMIT_EXCEEDED'
  | 'LM_CLOSED'
  | 'LM_NO_INSTANCE'
  | 'LM_BREAKER_OPEN'
  | 'LM_SATURATED'
  | 'LM_QUEUE_FULL'
  | 'LM_DEADLINE_EXCEEDED'
  | 'LM_DRAINING'
  | 'LM_NOT_FOUND'
  | 'LM_DUPLICATE'
  | 'LM_INTERNAL'
  | 'LM_NATIVE_REQUIRED'
  | 'LM_RING_FULL'
  | 'LM_STALE_TICKET'
  | 'LM_CANCELLED'
  | 'LM_THREAD_ENDED'
  | 'LM_CODEC'
  | 'LM_REMOTE'
  | 'LM_CONFIG'
  | 'LM_DENIED'
  | 'LM_REVOKED'
  | 'LM_EXPIRED'
  | 'LM_NODE_LOST'
  | 'LM_ADDRESS_UNAVAILABLE'
  | 'LM_DISK_FULL'
  | 'LM_READ_ONLY'
  | 'LM_LOCKED'
  | 'LM_CORRUPT'
  | 'LM_IO'
  | 'LM_CONFLICT'
  | 'LM_RATE_LIMITED'

/** Whether the message reached the handler. `unknown` means that it may have, and nobody can tell. */
export type DeliveryOutcome = 'delivered' | 'not-delivered' | 'unknown'

export interface ErrorDetails {
  retryable?: boolean
  outcome?: DeliveryOutcome
  /** Path of the wrong field, `policy.breaker.openMs`. */
  field?: string | undefined
  /** The bound that was crossed, in the unit of the field. */
  limit?: number | undefined
  /** When it is worth trying again, milliseconds. */
  retryAfterMs?: number | undefined
  cause?: unknown
}

const brandOf = (name: string): symbol => Symbol.for(name)

/** Base of every error that linkmesh makes. */
export class LinkmeshError extends Error {
  /** Same symbol in every copy of the package, so `instanceof` survives duplicates and CJS/ESM pairs. */
  static readonly brand: symbol = brandOf('linkmesh.error')

  readonly code: ErrorCode
  /** True when the same request may well succeed later. Says nothing about whether repeating it is safe: see `outcome`. */
  readonly retryable: boolean
  readonly outcome: DeliveryOutcome
  readonly field?: string
  readonly limit?: number
  readonly retryAfterMs?: number

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.code = code
    this.retryable = details.retryable ?? RETRYABLE.has(code)
    this.outcome = details.outcome ?? 'not-delivered'
    if (details.field !== undefined) this.field = details.field
    if (details.limit !== undefined) this.limit = details.limit
    if (details.retryAfterMs !== undefined) this.retryAfterMs = details.retryAfterMs
  }

  static override [Symbol.hasInstance](value: unknown): boolean {
    // biome-ignore lint/complexity/noThisInStatic: the class that `instanceof` names, which may be a subclass
    return branded(this, value)
  }
}

function branded(type: typeof LinkmeshError, value: unknown): boolean {
  // A class that a user derives has no brand of its own and keeps the ordinary meaning of `instanceof`.
  if (!Object.hasOwn(type, 'brand')) return Function.prototype[Symbol.hasInstance].call(type, value)
  return typeof value === 'object' && value !== null && (value as Record<symbol, unknown>)[type.brand] === true
}

/** The deadline passed. `outcome` says whether the handler had been reached. */
export class TimeoutError extends LinkmeshError {
  static override readonly brand: symbol = brandOf('linkmesh.error.timeout')
  constructor(message: string, details: ErrorDetails = {}) {
    super('LM_DEADLINE_EXCEEDED', message, details)
  }
}

/** Every eligible instance, the queue in front of them, or the rate limit is full. `retryAfterMs` says when to come back. */
export class SaturatedError extends LinkmeshError {
  static override readonly brand: symbol = brandOf('linkmesh.error.saturated')
  constructor(
    message: string,
    details: ErrorDetails & { code?: 'LM_SATURATED' | 'LM_QUEUE_FULL' | 'LM_RATE_LIMITED' } = {},
  ) {
    super(details.code ?? 'LM_SATURATED', message, details)
  }
}

/** No instance can take the request: none lives, or every one is ejected by its breaker. */
export class NoInstanceError extends LinkmeshError {
  static override readonly brand: symbol = brandOf('linkmesh.error.no-instance')
  constructor(message: string, details: ErrorDetails & { code?: 'LM_NO_INSTANCE' | 'LM_BREAKER_OPEN' } = {}) {
    super(details.code ?? 'LM_NO_INSTANCE', message, details)
  }
}

/** The caller gave up: its `AbortSignal` fired, or the mesh closed around it. `cause` is the signal's reason. */
export class CancelledError extends LinkmeshError {
  static override readonly brand: symbol = brandOf('linkmesh.error.cancelled')
  constructor(message: string, details: ErrorDetails = {}) {
    super('LM_CANCELLED', message, details)
  }
}

/**
 * An application's error that came from another thread and whose class is not known here.
 * `name`, `message`, `stack` and the own enumerable fields (`data`) are those of the original.
 */
export class RemoteError extends LinkmeshError {
  static override readonly brand: symbol = brandOf('linkmesh.error.remote')
  /** The original error's own `code`, when it had one. */
  readonly remoteCode?: string | number
  /** Own enumerable fields of the original, as the codec of errors (JSON) carried them. */
  readonly data: Readonly<Record<string, unknown>>

  constructor(
    name: string,
    message: string,
    data: Readonly<Record<string, unknown>> = {},
    remoteCode?: string | number,
    details: ErrorDetails = {},
  ) {
    super('LM_REMOTE', message, { outcome: 'delivered', ...details })
    Object.defineProperty(this, 'name', { value: name, configurable: true, writable: true, enumerable: false })
    this.data = data
    if (remoteCode !== undefined) this.remoteCode = remoteCode
  }
}

for (const type of [LinkmeshError, TimeoutError, SaturatedError, NoInstanceError, CancelledError, RemoteError]) {
  Object.defineProperty(type.prototype, type.brand, { value: true })
  Object.defineProperty(type.prototype, 'name', { value: type.name, configurable: true, writable: true })
}

const RETRYABLE: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'LM_NO_INSTANCE',
  'LM_BREAKER_OPEN',
  'LM_SATURATED',
  'LM_QUEUE_FULL',
  'LM_RATE_LIMITED',
  'LM_DEADLINE_EXCEEDED',
  'LM_DRAINING',
  'LM_RING_FULL',
  'LM_THREAD_ENDED',
  'LM_NODE_LOST',
  'LM_DISK_FULL',
  'LM_LOCKED',
])

const CODES: Readonly<Record<Status, ErrorCode>> = {
  [Status.NoMatch]: 'LM_NOT_FOUND',
  [Status.StaleHandle]: 'LM_STALE_HANDLE',
  [Status.InvalidArgument]: 'LM_INVALID_ARGUMENT',
  [Status.LimitExceeded]: 'LM_LIMIT_EXCEEDED',
  [Status.Closed]: 'LM_CLOSED',
  [Status.NoInstance]: 'LM_NO_INSTANCE',
  [Status.BreakerOpen]: 'LM_BREAKER_OPEN',
  [Status.Saturated]: 'LM_SATURATED',
  [Status.QueueFull]: 'LM_QUEUE_FULL',
  [Status.DeadlineExceeded]: 'LM_DEADLINE_EXCEEDED',
  [Status.Draining]: 'LM_DRAINING',
  [Status.NotFound]: 'LM_NOT_FOUND',
  [Status.Duplicate]: 'LM_DUPLICATE',
  [Status.Internal]: 'LM_INTERNAL',
  [Status.NativeRequired]: 'LM_NATIVE_REQUIRED',
  [Status.RingFull]: 'LM_RING_FULL',
  [Status.StaleTicket]: 'LM_STALE_TICKET',
  [Status.Denied]: 'LM_DENIED',
  [Status.Revoked]: 'LM_REVOKED',
  [Status.Expired]: 'LM_EXPIRED',
  [Status.NodeLost]: 'LM_NODE_LOST',
  [Status.Cancelled]: 'LM_CANCELLED',
  [Status.AddressUnavailable]: 'LM_ADDRESS_UNAVAILABLE',
  [Status.DiskFull]: 'LM_DISK_FULL',
  [Status.ReadOnly]: 'LM_READ_ONLY',
  [Status.Locked]: 'LM_LOCKED',
  [Status.Corrupt]: 'LM_CORRUPT',
  [Status.Io]: 'LM_IO',
  [Status.Conflict]: 'LM_CONFLICT',
  [Status.RateLimited]: 'LM_RATE_LIMITED',
}

/** The code that a status of the binding becomes. */
export function codeOf(status: number): ErrorCode {
  return CODES[status as Status] ?? 'LM_INTERNAL'
}

/** Builds the class that belongs to a code. */
export function errorOf(code: ErrorCode, message: string, details: ErrorDetails = {}): LinkmeshError {
  switch (code) {
    case 'LM_DEADLINE_EXCEEDED':
      return new TimeoutError(message, details)
    case 'LM_SATURATED':
    case 'LM_QUEUE_FULL':
    case 'LM_RATE_LIMITED':
      return new SaturatedError(message, { ...details, code })
    case 'LM_NO_INSTANCE':
    case 'LM_BREAKER_OPEN':
      return new NoInstanceError(message, { ...details, code })
    case 'LM_CANCELLED':
      return new CancelledError(message, details)
    default:
      return new LinkmeshError(code, message, details)
  }
}

/** What to install when the fallback cannot do what was asked. */
export const NATIVE_HINT =
  'needs the native addon: install the platform package (@linkmesh/<platform>-<arch>-<abi>), or build it with `npm run build` (Rust ≥ 1.89); `linkmesh doctor` says why it did not load'

/**
 * Builds the error for a negative status, with the field and limit that the binding left in `lastError()`.
 * Cold: only refusals come here.
 */
export function errorOfStatus(
  binding: Binding,
  status: number,
  what: string,
  details: ErrorDetails = {},
): LinkmeshError {
  const text = binding.lastError()
  const data = text === '' ? undefined : (JSON.parse(text) as ErrorData)
  const code = codeOf(status)
  if (data === undefined || data.status !== status) {
    const message = code === 'LM_NATIVE_REQUIRED' ? `${what} ${NATIVE_HINT}` : `${what}: ${WORDS[code] ?? 'refused'}`
    return errorOf(code, message, details)
  }
  return errorOfData(data, what, details)
}

function errorOfData(data: ErrorData, what: string, details: ErrorDetails): LinkmeshError {
  const { field, limit, outcome, retryable } = data
  const place = data.place === undefined ? '' : ` (a bug in linkmesh, at ${data.place})`
  return errorOf(codeOf(data.status), `${what}: ${data.message}${place}`, {
    field,
    limit,
    ...(outcome === undefined ? {} : { outcome }),
    ...(retryable === undefined ? {} : { retryable }),
    ...details,
  })
}

/** Builds the error for a rejected promise of the binding, whose message is JSON of `ErrorData`. */
export function errorOfRejection(cause: unknown, what: string): LinkmeshError {
  if (cause instanceof LinkmeshError) return cause
  const text = cause instanceof Error ? cause.message : ''
  if (!text.startsWith('{')) return new LinkmeshError('LM_INTERNAL', `${what}: ${String(cause)}`, { cause })
  return errorOfData(JSON.parse(text) as ErrorData, what, {})
}

/** Throws for a negative status, passes everything else through. */
export function must<T extends number>(binding: Binding, result: T, what: string): T {
  if (result < 0) throw errorOfStatus(binding, result, what)
  return result
}

/** Refused pick: words for statuses whose reason is fully said by the code. */
const WORDS: Partial<Record<ErrorCode, string>> = {
  LM_NO_INSTANCE: 'no instance is alive',
  LM_BREAKER_OPEN: 'every live instance is ejected by its circuit breaker',
  LM_SATURATED: 'every eligible instance is at its concurrency limit',
  LM_QUEUE_FULL: 'the queue of waiting requests is full',
  LM_DEADLINE_EXCEEDED: 'the deadline passed',
  LM_DRAINING: 'every instance is draining',
  LM_NOT_FOUND: 'not found',
  LM_STALE_HANDLE: 'the handle is stale or was never valid',
  LM_STALE_TICKET: 'the ticket was completed before, or its lease ran out',
  LM_CLOSED: 'closed',
  LM_RING_FULL: 'no room for this record now',
  LM_DENIED: 'the grant or the identity does not allow this',
  LM_REVOKED: 'revoked',
  LM_EXPIRED: 'has run out',
  LM_NODE_LOST: 'the other node is not connected',
  LM_CANCELLED: 'cancelled',
  LM_ADDRESS_UNAVAILABLE: 'the address cannot be listened on',
  LM_DISK_FULL: 'the disk is full',
  LM_READ_ONLY: 'it can only be read',
  LM_LOCKED: 'another process has it open',
  LM_CORRUPT: 'damaged',
  LM_IO: 'the device failed',
  LM_CONFLICT: 'its state does not allow this',
  LM_RATE_LIMITED: 'the rate limit is reached',
}
