/** The rules for everything that comes from outside: those of `crates/registry/src/validate.rs`, in the same order. */
import { exceeded, type Failure, invalid } from './edge.js'
import { utf8Length } from './text.js'

/** The bounds of the registry, those of `crates/registry/src/limits.rs`. */
export const REGISTRY_LIMITS = {
  services: 131_072,
  instances: 131_072,
  instancesPerService: 4_096,
  connections: 65_536,
  events: 4_096,
  nameBytes: 256,
  addressBytes: 2_048,
  zoneBytes: 64,
  tags: 32,
  tagBytes: 64,
  versionBytes: 64,
  metadata: 32,
  metadataKeyBytes: 64,
  metadataValueBytes: 1_024,
  weight: 1_000,
  priority: 15,
  concurrency: 1_000_000,
  leaseMs: 86_400_000,
  jsonBytes: 262_144,
} as const

/** More than `limit` of something; `what` is its plural. */
export function tooMany(field: string, limit: number, what: string): Failure {
  return exceeded(field, `${field} may have at most ${limit} ${what}`, limit)
}

/** A number outside its range; the limit is the bound it crossed. */
export function outOfRange(field: string, min: number, max: number, value: number): Failure {
  return invalid(field, `${field} must be between ${min} and ${max}, got ${value}`, value > max ? max : min)
}

const GRAPHIC = /^[!-~]*$/

/** Whether all of it is printable ASCII without spaces. */
export function isGraphic(text: string): boolean {
  return GRAPHIC.test(text)
}

/** `min` to `max` bytes of printable ASCII without spaces. */
export function checkWord(field: string, text: string, min: number, max: number): void {
  if (text.length < min) throw invalid(field, `${field} must not be empty`, min)
  if (text.length > max || utf8Length(text) > max) throw tooMany(field, max, 'bytes')
  if (!isGraphic(text)) throw invalid(field, `${field} must be printable ASCII without spaces`)
}

/** A name: a word of at most 256 bytes that does not begin with `__`. */
export function checkName(field: string, text: string): void {
  checkWord(field, text, 1, REGISTRY_LIMITS.nameBytes)
  checkReserved(field, text)
}

function checkReserved(field: string, text: string): void {
  if (text.startsWith('__')) throw invalid(field, `${field} must not begin with __, which is reserved`)
}

/** At most 32 tags, each a word of at most 64 bytes. */
export function checkTags(field: string, tags: readonly string[]): void {
  if (tags.length > REGISTRY_LIMITS.tags) throw tooMany(field, REGISTRY_LIMITS.tags, 'tags')
  for (const [index, tag] of tags.entries()) checkWord(`${field}[${index}]`, tag, 1, REGISTRY_LIMITS.tagBytes)
}

/** The grammar of semver.org. */
const VERSION =
  /^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*)?(?:\+[0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*)?$/
const MAX_U64 = 2n ** 64n - 1n

/** A semantic version of at most 64 bytes whose numbers fit 64 bits. */
export function checkVersion(field: string, text: string): void {
  if (utf8Length(text) > REGISTRY_LIMITS.versionBytes) throw tooMany(field, REGISTRY_LIMITS.versionBytes, 'bytes')
  const parts = VERSION.exec(text)
  if (parts === null || parts.slice(1).some((part) => BigInt(part) > MAX_U64))
    throw invalid(field, `${field} must be a semantic version such as 1.4.0`)
}

/** At most 32 entries, checked in the order of their keys. */
export function checkMetadata(field: string, entries: ReadonlyMap<string, string>): void {
  if (entries.size > REGISTRY_LIMITS.metadata) throw tooMany(field, REGISTRY_LIMITS.metadata, 'entries')
  for (const [key, value] of entries) {
    checkWord(field, key, 1, REGISTRY_LIMITS.metadataKeyBytes)
    checkReserved(field, key)
    const path = `${field}.${key}`
    if (utf8Length(value) > REGISTRY_LIMITS.metadataValueBytes)
      throw tooMany(path, REGISTRY_LIMITS.metadataValueBytes, 'bytes')
    if (value.includes('\0')) throw invalid(path, `${path} must not contain NUL`)
  }
}

/** A whole number between `min` and `max`. */
export function checkRange(field: string, value: number, min: number, max: number): void {
  if (!(value >= min && value <= max)) throw outOfRange(field, min, max, value)
  if (!Number.isInteger(value)) throw invalid(field, `${field} must be a whole number`)
}
