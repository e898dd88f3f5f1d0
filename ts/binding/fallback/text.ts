/** Strings as the tables see them: well-formed UTF-16, measured in UTF-8 bytes. */
import { exceeded, invalid } from './edge.js'

/** Longest string that a function of the contract reads, UTF-16 units. */
export const MAX_UNITS = 2 ** 20

const ANY_SURROGATE = /[\ud800-\udfff]/
/** With the `u` flag only a surrogate without its partner is a code point of this category. */
const LONE_SURROGATE = /\p{Surrogate}/u

/** False for a string that has no UTF-8 form. Such a string is in no table. */
export function isWellFormed(text: string): boolean {
  return !ANY_SURROGATE.test(text) || !LONE_SURROGATE.test(text)
}

/** Length in UTF-8, bytes, of a well-formed string. */
export function utf8Length(text: string): number {
  return Buffer.byteLength(text)
}

/** A string argument with a UTF-8 form of at most `most` bytes. */
export function checkedText(value: unknown, field: string, most: number): string {
  if (typeof value !== 'string') throw invalid(field, `${field} is a string`)
  // The cheap bound first: nothing longer is even looked at.
  if (value.length > MAX_UNITS) throw tooLong(field, most)
  if (!isWellFormed(value)) throw invalid(field, `${field} has a surrogate without its partner`)
  if (utf8Length(value) > most) throw tooLong(field, most)
  return value
}

function tooLong(field: string, most: number) {
  return exceeded(field, `${field} has at most ${most} bytes`, most)
}

/** murmur3's 32-bit finaliser: every input bit reaches every output bit. */
export function fmix32(hash: number): number {
  let h = hash
  h ^= h >>> 16
  h = Math.imul(h, 0x85ebca6b)
  h ^= h >>> 13
  h = Math.imul(h, 0xc2b2ae35)
  h ^= h >>> 16
  return h >>> 0
}

/** Hash of a well-formed routing key: FNV-1a over its UTF-8 bytes, finished by {@link fmix32}; never 0. */
export function hashKey(key: string): number {
  let h = 0x811c9dc5
  for (let i = 0; i < key.length; i++) {
    const unit = key.charCodeAt(i)
    if (unit >= 0x80) return hashBytes(Buffer.from(key))
    h = Math.imul(h ^ unit, 0x01000193)
  }
  return fmix32(h) || 1
}

function hashBytes(bytes: Uint8Array): number {
  let h = 0x811c9dc5
  for (const byte of bytes) h = Math.imul(h ^ byte, 0x01000193)
  return fmix32(h) || 1
}
