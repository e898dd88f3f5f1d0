/** Arguments are refused at the edge, with the field and the bound in the error. */
import { LinkmeshError } from '../errors.js'

/** Longest routing key, UTF-16 units. */
export const MAX_KEY = 1_024
const MAX_METADATA_ENTRIES = 64
const MAX_METADATA_UNITS = 16_384
/** Longest finite timeout: 24 days, the longest a timer of the runtime can wait. */
export const MAX_TIMEOUT_MS = 2_147_483_647

/** An LM_INVALID_ARGUMENT for `field`. */
export function invalid(field: string, message: string, limit?: number): LinkmeshError {
  return new LinkmeshError('LM_INVALID_ARGUMENT', message, { field, limit })
}

/** Short words for what was given, for messages. */
export function shown(value: unknown): string {
  if (typeof value === 'string')
    return value.length > 64 ? `a string of ${value.length} characters` : JSON.stringify(value)
  if (value === null || typeof value === 'number' || typeof value === 'boolean' || value === undefined)
    return String(value)
  return Array.isArray(value) ? 'an array' : `a ${typeof value}`
}

export function checkName(value: unknown, field: string): string {
  if (typeof value !== 'string') throw invalid(field, `${field} must be a string, not ${shown(value)}`)
  if (value.length === 0 || value.length > 256) {
    throw new LinkmeshError('LM_INVALID_ARGUMENT', `${field} has ${value.length} characters; 1 to 256 are allowed`, {
      field,
      limit: 256,
    })
  }
  return value
}

export function checkInteger(value: unknown, field: string, least: number, most: number): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < least || value > most) {
    const bound = typeof value === 'number' && value < least ? least : most
    throw invalid(field, `${field} must be a whole number from ${least} to ${most}, not ${shown(value)}`, bound)
  }
  return value
}

export function checkNumber(value: unknown, field: string, least: number, most: number): number {
  if (typeof value !== 'number' || !(value >= least && value <= most)) {
    const bound = typeof value === 'number' && value < least ? least : most
    throw invalid(field, `${field} must be a number from ${least} to ${most}, not ${shown(value)}`, bound)
  }
  return value
}

/** A timeout: more than 0, at most 24 days, or Infinity. */
export function checkTimeout(value: unknown, field: string): number {
  if (value === Number.POSITIVE_INFINITY) return value
  if (typeof value !== 'number' || !(value > 0 && value <= MAX_TIMEOUT_MS)) {
    throw invalid(
      field,
      `${field} must be a positive number of milliseconds up to ${MAX_TIMEOUT_MS}, or Infinity, not ${shown(value)}`,
      MAX_TIMEOUT_MS,
    )
  }
  return value
}

export function checkKey(value: unknown): string {
  if (typeof value !== 'string') throw invalid('key', `key must be a string, not ${shown(value)}`)
  if (value.length === 0 || value.length > MAX_KEY) {
    throw invalid('key', `key has ${value.length} characters; 1 to ${MAX_KEY} are allowed`, MAX_KEY)
  }
  return value
}

/** As a key, and without lone surrogates: two keys must never become the same bytes. */
export function checkIdempotencyKey(value: unknown): string {
  const field = 'idempotencyKey'
  if (typeof value !== 'string') throw invalid(field, `${field} must be a string, not ${shown(value)}`)
  if (value.length === 0 || value.length > MAX_KEY)
    throw invalid(field, `${field} has ${value.length} characters; 1 to ${MAX_KEY} are allowed`, MAX_KEY)
  if (!(value as unknown as { isWellFormed(): boolean }).isWellFormed())
    throw invalid(field, `${field} has a lone surrogate`)
  return value
}

/** Longest fingerprint; the ledger keeps its length in a byte. */
const MAX_FINGERPRINT = 128

export function isFingerprint(value: string): boolean {
  return value.length <= MAX_FINGERPRINT && /^[\x20-\x7e]+$/.test(value)
}

export function checkFingerprint(value: unknown): string {
  const field = 'idempotencyFingerprint'
  if (typeof value === 'string' && isFingerprint(value)) return value
  throw invalid(
    field,
    `${field} must be 1 to ${MAX_FINGERPRINT} printable characters of ASCII, not ${shown(value)}`,
    MAX_FINGERPRINT,
  )
}

export function checkSignal(value: unknown): AbortSignal {
  const signal = value as Partial<AbortSignal> | null
  if (
    typeof signal !== 'object' ||
    signal === null ||
    typeof signal.aborted !== 'boolean' ||
    typeof signal.addEventListener !== 'function'
  ) {
    throw invalid('signal', `signal must be an AbortSignal, not ${shown(value)}`)
  }
  return value as AbortSignal
}

export function checkMetadata(value: unknown, field = 'metadata'): Readonly<Record<string, string>> {
  checkRecord(value, field)
  let entries = 0
  let units = 0
  for (const [key, text] of Object.entries(value as object)) {
    if (typeof text !== 'string')
      throw invalid(`${field}.${key}`, `${field}.${key} must be a string, not ${shown(text)}`)
    entries++
    units += key.length + text.length
  }
  if (entries > MAX_METADATA_ENTRIES)
    throw invalid(field, `${field} has ${entries} entries; ${MAX_METADATA_ENTRIES} are allowed`, MAX_METADATA_ENTRIES)
  if (units > MAX_METADATA_UNITS)
    throw invalid(field, `${field} has ${units} characters; ${MAX_METADATA_UNITS} are allowed`, MAX_METADATA_UNITS)
  return value as Readonly<Record<string, string>>
}

/** A plain options object: not null, not an array. */
export function checkRecord(value: unknown, field: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalid(field, `${field} must be an object, not ${shown(value)}`)
  }
  return value as Record<string, unknown>
}

/** Refuses a misspelt option: it would be ignored without a word. */
export function checkFields(value: object, known: ReadonlySet<string>, field: string): void {
  for (const key of Object.keys(value)) {
    if (!known.has(key))
      throw invalid(`${field}.${key}`, `${field} has no field ${shown(key)}; it has ${[...known].join(', ')}`)
  }
}
