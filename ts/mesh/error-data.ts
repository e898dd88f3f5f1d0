/** Errors between threads travel as data and are rebuilt as the same class and code. */
import { type DeliveryOutcome, type ErrorCode, errorOf, LinkmeshError, RemoteError } from '../errors.js'
import { wordsOf } from './thrown.js'

interface ErrorRecord {
  name: string
  message: string
  stack?: string
  /** Own enumerable fields that have a JSON form. */
  data?: Record<string, unknown>
  /** Present on errors made by linkmesh. */
  linkmesh?: { code: ErrorCode; retryable: boolean; outcome: DeliveryOutcome; remoteCode?: string | number }
  /** Nested causes, at most {@link MAX_CAUSES}. */
  cause?: ErrorRecord
}

const MAX_CAUSES = 4
/** Of message and stack together with the data, in UTF-16 units. */
const MAX_TEXT = 16_384

/** Built-in classes that are rebuilt as themselves. */
const BUILT_IN: Readonly<Record<string, new (message?: string) => Error>> = {
  Error,
  TypeError,
  RangeError,
  SyntaxError,
  ReferenceError,
  EvalError,
  URIError,
}

/** JSON of anything that was thrown. Never throws itself. */
export function errorToText(error: unknown): string {
  try {
    return JSON.stringify(record(error, 0))
  } catch {
    // An error whose fields cannot be read.
    return JSON.stringify({ name: 'Error', message: cut(wordsOf(error)) })
  }
}

function record(error: unknown, depth: number): ErrorRecord {
  if (!(error instanceof Error)) {
    return { name: 'NonError', message: `thrown: ${cut(wordsOf(error))}`, data: { value: plain(error) } }
  }
  const found: ErrorRecord = { name: cut(String(error.name)), message: cut(String(error.message)) }
  if (typeof error.stack === 'string') found.stack = cut(error.stack)
  const data: Record<string, unknown> = {}
  let room = MAX_TEXT
  for (const key of Object.keys(error)) {
    const value = plain((error as unknown as Record<string, unknown>)[key])
    if (value === undefined) continue
    room -= key.length + JSON.stringify(value).length
    if (room < 0) break
    // `data.__proto__ = …` would set the prototype instead of a field.
    Object.defineProperty(data, key, { value, enumerable: true, configurable: true, writable: true })
  }
  if (Object.keys(data).length > 0) found.data = data
  if (error instanceof LinkmeshError) {
    found.linkmesh = { code: error.code, retryable: error.retryable, outcome: error.outcome }
    if (error instanceof RemoteError && error.remoteCode !== undefined) found.linkmesh.remoteCode = error.remoteCode
  }
  if (error.cause !== undefined && depth < MAX_CAUSES) found.cause = record(error.cause, depth + 1)
  return found
}

/** Rebuilds what {@link errorToText} wrote. */
export function errorFromText(text: string): Error {
  try {
    return rebuild(JSON.parse(text) as ErrorRecord)
  } catch (cause) {
    return new LinkmeshError('LM_CODEC', 'an error came back that cannot be read', { outcome: 'delivered', cause })
  }
}

function rebuild(from: ErrorRecord): Error {
  const cause = from.cause === undefined ? undefined : rebuild(from.cause)
  const error = fresh(from, cause)
  if (from.stack !== undefined)
    Object.defineProperty(error, 'stack', { value: from.stack, configurable: true, writable: true })
  return error
}

function fresh(from: ErrorRecord, cause: Error | undefined): Error {
  const { linkmesh, data = {} } = from
  if (linkmesh !== undefined && linkmesh.code !== 'LM_REMOTE') {
    return errorOf(linkmesh.code, from.message, {
      retryable: linkmesh.retryable,
      outcome: linkmesh.outcome,
      field: data.field as string | undefined,
      limit: data.limit as number | undefined,
      retryAfterMs: data.retryAfterMs as number | undefined,
      cause,
    })
  }
  const type = Object.hasOwn(BUILT_IN, from.name) ? BUILT_IN[from.name] : undefined
  if (linkmesh === undefined && type !== undefined) {
    const error = new type(from.message)
    if (cause !== undefined) Object.defineProperty(error, 'cause', { value: cause, configurable: true, writable: true })
    copyFields(error, data)
    return error
  }
  const relayed = linkmesh !== undefined
  const code = relayed ? linkmesh.remoteCode : (data.code as string | number | undefined)
  const own = relayed ? ((data.data as Record<string, unknown> | undefined) ?? {}) : data
  return new RemoteError(from.name, from.message, Object.freeze({ ...own }), code, {
    retryable: relayed ? linkmesh.retryable : own.retryable === true,
    retryAfterMs: typeof own.retryAfterMs === 'number' ? own.retryAfterMs : undefined,
    cause,
  })
}

function copyFields(error: Error, data: Record<string, unknown>): void {
  for (const key of Object.keys(data)) {
    // An own `stack`, `message` or `__proto__` of the data is data, not the error's.
    if (key === 'stack' || key === 'message' || key === 'name' || key === '__proto__') continue
    Object.defineProperty(error, key, { value: data[key], enumerable: true, configurable: true, writable: true })
  }
}

/** The value as JSON would carry it, or undefined when it cannot. */
function plain(value: unknown): unknown {
  try {
    const text = JSON.stringify(value)
    return text === undefined || text.length > MAX_TEXT ? undefined : JSON.parse(text)
  } catch {
    return undefined
  }
}

function cut(text: string): string {
  return text.length <= MAX_TEXT ? text : `${text.slice(0, MAX_TEXT)}…`
}
