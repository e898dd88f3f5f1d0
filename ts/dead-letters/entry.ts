/** What a dead letter holds: checked, written as JSON, and made a message again. */
import type { LetterAttempt, LetterState } from '../binding/contract-journal.js'
import { type DeliveryOutcome, LinkmeshError } from '../errors.js'
import {
  checkFields,
  checkInteger,
  checkKey,
  checkMetadata,
  checkName,
  checkRecord,
  invalid,
  shown,
} from '../mesh/checks.js'

/** A letter to append by hand. The mesh makes those of its own requests. */
export interface DeadLetterEntry {
  service: string
  /** What was to be sent: anything with a JSON form, a string, or bytes. */
  body?: unknown
  /** Why it was given up: a stable code. */
  reason: string
  /** In words. */
  message?: string
  /** Whether a handler had it; default `unknown`. */
  outcome?: DeliveryOutcome
  key?: string
  /** Class of service; default `best-effort`. */
  qos?: string
  headers?: Readonly<Record<string, string>>
  attempts?: readonly LetterAttempt[]
  /** Default: now. */
  firstDeathMs?: number
  lastDeathMs?: number
  /** Sending it twice does no harm. */
  idempotent?: boolean
}

/** A letter as it is listed. */
export interface DeadLetterSummary {
  id: number
  state: LetterState
  service: string
  key?: string
  qos: string
  outcome: DeliveryOutcome
  reason: string
  firstDeathMs: number
  lastDeathMs: number
  /** Attempts in all, those of redrives included. */
  attempts: number
  redrives: number
  /** Why it was parked. */
  parked?: string
  idempotent: boolean
  /**
   * It had a key: messages of that key that came later went, or may have gone, before it. With `ordering: 'key'` the next of
   * them was told, by `ctx.orderBroken`.
   */
  breaksOrder: boolean
  bytes: number
}

/** A letter as it was written. */
export interface StoredLetter {
  service: string
  key?: string
  /** Sent along when it is redriven: what was done already is not done again while its ledger remembers. */
  idempotencyKey?: string
  qos: string
  outcome: DeliveryOutcome
  reason: string
  message: string
  body: { encoding: 'none' | 'json' | 'text' | 'base64'; data: string }
  headers: Record<string, string>
  attempts: LetterAttempt[]
  firstDeathMs: number
  lastDeathMs: number
  idempotent: boolean
  breaksOrder: boolean
}

/** A change of a letter's state. */
export type DeadLetterEvent =
  | { event: 'redrive-started'; of: number; atMs: number; by: string }
  | { event: 'redriven'; of: number; atMs: number }
  | {
      event: 'redrive-failed'
      of: number
      atMs: number
      outcome: DeliveryOutcome
      reason: string
      attempts: LetterAttempt[]
      parked: boolean
    }
  | { event: 'parked'; of: number; atMs: number; why: string }

/** A letter with everything that happened to it. */
export interface DeadLetter extends DeadLetterSummary {
  letter: StoredLetter
  history: DeadLetterEvent[]
}

const FIELDS: ReadonlySet<string> = new Set([
  'service',
  'body',
  'reason',
  'message',
  'outcome',
  'key',
  'qos',
  'headers',
  'attempts',
  'firstDeathMs',
  'lastDeathMs',
  'idempotent',
])
const OUTCOMES: ReadonlySet<unknown> = new Set(['delivered', 'not-delivered', 'unknown'])
const MAX_MESSAGE = 4_096
const MAX_ATTEMPTS = 1_024
const MAX_TIME_MS = 8.64e15
const NO_HEADERS: Record<string, string> = Object.freeze({})

/**
 * The entry's fields in an object that always has the same shape. Callers' objects come in many, and each read of a field
 * would look for it anew, which took a sixth of an append.
 */
function fieldsOf(entry: unknown): DeadLetterEntry {
  const given = checkRecord(entry, 'entry')
  const names = Object.keys(given)
  const values = Object.values(given)
  const fields: Record<string, unknown> = {
    service: undefined,
    body: undefined,
    reason: undefined,
    message: undefined,
    outcome: undefined,
    key: undefined,
    qos: undefined,
    headers: undefined,
    attempts: undefined,
    firstDeathMs: undefined,
    lastDeathMs: undefined,
    idempotent: undefined,
  }
  for (let at = 0; at < names.length; at++) {
    switch (names[at]) {
      case 'service':
        fields.service = values[at]
        break
      case 'body':
        fields.body = values[at]
        break
      case 'reason':
        fields.reason = values[at]
        break
      case 'message':
        fields.message = values[at]
        break
      case 'outcome':
        fields.outcome = values[at]
        break
      case 'key':
        fields.key = values[at]
        break
      case 'qos':
        fields.qos = values[at]
        break
      case 'headers':
        fields.headers = values[at]
        break
      case 'attempts':
        fields.attempts = values[at]
        break
      case 'firstDeathMs':
        fields.firstDeathMs = values[at]
        break
      case 'lastDeathMs':
        fields.lastDeathMs = values[at]
        break
      case 'idempotent':
        fields.idempotent = values[at]
        break
      default:
        checkFields(given, FIELDS, 'entry')
    }
  }
  return fields as unknown as DeadLetterEntry
}

/** JSON of a letter as it is stored. Throws for what is no letter, naming the field. */
export function encodeEntry(given: DeadLetterEntry): string {
  const entry = fieldsOf(given)
  const { service, reason, outcome = 'unknown', key, qos = 'best-effort', headers, attempts = [] } = entry
  checkName(service, 'entry.service')
  checkName(reason, 'entry.reason')
  checkName(qos, 'entry.qos')
  if (!OUTCOMES.has(outcome))
    throw invalid('entry.outcome', `entry.outcome must be delivered, not-delivered or unknown, not ${shown(outcome)}`)
  if (key !== undefined) checkKey(key)
  if (headers !== undefined) checkMetadata(headers, 'entry.headers')
  if (!Array.isArray(attempts) || attempts.length > MAX_ATTEMPTS)
    throw invalid('entry.attempts', `entry.attempts must be a list of at most ${MAX_ATTEMPTS}`, MAX_ATTEMPTS)
  const { lastDeathMs = Date.now() } = entry
  const { firstDeathMs = lastDeathMs } = entry
  checkInteger(lastDeathMs, 'entry.lastDeathMs', 0, MAX_TIME_MS)
  checkInteger(firstDeathMs, 'entry.firstDeathMs', 0, MAX_TIME_MS)
  const letter: StoredLetter = {
    service,
    qos,
    outcome,
    reason,
    message: entry.message === undefined ? '' : String(entry.message).slice(0, MAX_MESSAGE),
    body: encodeBody(entry.body),
    headers: headers ?? NO_HEADERS,
    attempts: attempts as LetterAttempt[],
    firstDeathMs,
    lastDeathMs,
    idempotent: entry.idempotent === true,
    breaksOrder: key !== undefined,
  }
  if (key !== undefined) letter.key = key
  return encodeLetter(letter)
}

/**
 * What `JSON.stringify` makes of a letter, field by field: of one large object it takes twice as long, and an append has
 * little else to do.
 */
export function encodeLetter(letter: StoredLetter): string {
  const { key, idempotencyKey, body, headers, attempts } = letter
  return (
    `{"service":${quote(letter.service)},` +
    (key === undefined ? '' : `"key":${quote(key)},`) +
    (idempotencyKey === undefined ? '' : `"idempotencyKey":${quote(idempotencyKey)},`) +
    `"qos":${quote(letter.qos)},"outcome":"${letter.outcome}","reason":${quote(letter.reason)},` +
    `"message":${quote(letter.message)},"body":{"encoding":"${body.encoding}","data":${quote(body.data)}},` +
    `"headers":${headers === NO_HEADERS ? '{}' : stringify(headers)},` +
    `"attempts":${attempts.length === 0 ? '[]' : stringify(attempts)},` +
    `"firstDeathMs":${letter.firstDeathMs},"lastDeathMs":${letter.lastDeathMs},` +
    `"idempotent":${letter.idempotent},"breaksOrder":${letter.breaksOrder}}`
  )
}

// Half of a surrogate pair has no form in UTF-8, and the reader of the journal refuses the escape that JSON has for it.

function quote(text: string): string {
  return text.length === 0 ? '""' : JSON.stringify(isWellFormed(text) ? text : toWellFormed(text))
}

function stringify(value: object): string {
  const text = JSON.stringify(value)
  if (!text.includes('\\ud')) return text
  return JSON.stringify(value, (_, part: unknown) => (typeof part === 'string' ? toWellFormed(part) : part))
}

// In every runtime that is supported, and not yet in the library that TypeScript is told to use.
const isWellFormed = (text: string): boolean => (text as unknown as { isWellFormed(): boolean }).isWellFormed()
const toWellFormed = (text: string): string => (text as unknown as { toWellFormed(): string }).toWellFormed()

/** Throws `LM_CODEC` for what has no JSON form. */
export function encodeBody(body: unknown): StoredLetter['body'] {
  if (body === undefined) return { encoding: 'none', data: '' }
  // As JSON it comes back as it was, with whatever halves of characters are in it.
  if (typeof body === 'string' && isWellFormed(body)) return { encoding: 'text', data: body }
  if (body instanceof Uint8Array)
    return { encoding: 'base64', data: Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('base64') }
  let data: string | undefined
  try {
    data = JSON.stringify(body)
  } catch (cause) {
    throw new LinkmeshError('LM_CODEC', 'the body of a dead letter has no JSON form', { field: 'body', cause })
  }
  if (data === undefined)
    throw new LinkmeshError('LM_CODEC', 'the body of a dead letter has no JSON form', { field: 'body' })
  return { encoding: 'json', data }
}

/** The message again. */
export function decodeBody({ encoding, data }: StoredLetter['body']): unknown {
  if (encoding === 'none') return undefined
  if (encoding === 'text') return data
  if (encoding === 'base64') return new Uint8Array(Buffer.from(data, 'base64'))
  return JSON.parse(data)
}
