/**
 * `FingerprintedIdTable` on a `Map`.
 *
 * Keys are of two domains: safe integers, and byte strings. A string equals its UTF-8 bytes, so bytes that are
 * well-formed UTF-8 are kept as the string, and all others behind a lone surrogate, which no string key can have.
 */
import { exceeded, invalid } from './edge.js'
import { checkedText, isWellFormed } from './text.js'

/** Longest byte-string key, bytes. */
export const MAX_KEY_BYTES = 65_536
/** Most entries of a table. */
export const MAX_ENTRIES = 2 ** 28
/** Most entries of a `Map` in V8: here the table is full earlier than the addon's. */
const MAX_MAP_ENTRIES = 2 ** 24
/** "No value" in an array of u32. */
export const ABSENT = 0xffffffff

const NOT_UTF8 = '\ud800'
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

type MapKey = string | number

function keyOfBytes(bytes: Uint8Array): MapKey {
  try {
    return decoder.decode(bytes)
  } catch {
    return NOT_UTF8 + Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')
  }
}

/** The key as the map keeps it; refuses what can be no key. */
function checkedKey(key: unknown): MapKey {
  if (typeof key === 'number') {
    if (!Number.isSafeInteger(key)) throw invalid('key', `a number key is a safe integer, not ${key}`)
    return key
  }
  if (typeof key === 'string') {
    if (key === '') throw invalid('key', 'a key is not empty', 1)
    return checkedText(key, 'key', MAX_KEY_BYTES)
  }
  if (!(key instanceof Uint8Array)) throw invalid('key', 'a key is a string, a number or a Uint8Array')
  if (key.length === 0) throw invalid('key', 'a key is not empty', 1)
  if (key.length > MAX_KEY_BYTES) throw exceeded('key', `key has at most ${MAX_KEY_BYTES} bytes`, MAX_KEY_BYTES)
  return keyOfBytes(key)
}

/** id → u32. Look-ups and changes cost one `Map` operation. */
export class IdTable {
  readonly #values = new Map<MapKey, number>()
  #keyBytes = 0

  get size(): number {
    return this.#values.size
  }

  /** Memory held, bytes: an estimate (JavaScript does not tell), 40 for an entry of a `Map` and the key's own. */
  get bytes(): number {
    return this.#values.size * 40 + this.#keyBytes
  }

  set(key: unknown, value: number): void {
    const kept = checkedKey(key)
    if (!this.#values.has(kept)) {
      if (this.#values.size >= MAX_MAP_ENTRIES) throw exceeded('capacity', 'the table is full', MAX_MAP_ENTRIES)
      this.#keyBytes += weight(kept)
    }
    this.#values.set(kept, value)
  }

  /** True when it was there. */
  delete(key: unknown): boolean {
    const kept = checkedKey(key)
    const removed = this.#values.delete(kept)
    if (removed) this.#keyBytes -= weight(kept)
    return removed
  }

  /** Value or -1. A lone surrogate is in no table; its check keeps it from meeting a key of bytes. */
  getString(key: string): number {
    if (key.length === 0 || !isWellFormed(key)) return -1
    return this.#values.get(key) ?? -1
  }

  /** Value or -1; `key` is a safe integer. */
  getNumber(key: number): number {
    return this.#values.get(key) ?? -1
  }

  getBytes(key: Uint8Array): number {
    if (key.length === 0 || key.length > MAX_KEY_BYTES) return -1
    return this.#values.get(keyOfBytes(key)) ?? -1
  }

  /** One value per key, {@link ABSENT} for none; how many were found. `out` has room. */
  getManyU32(keys: Uint32Array, out: Uint32Array): number {
    let found = 0
    for (let i = 0; i < keys.length; i++) {
      const value = this.#values.get(keys[i] as number)
      out[i] = value ?? ABSENT
      if (value !== undefined) found++
    }
    return found
  }

  /** As {@link getManyU32}. A negative number is found by its two's complement. */
  getManyU64(keys: BigUint64Array, out: Uint32Array): number {
    let found = 0
    for (let i = 0; i < keys.length; i++) {
      const key = Number(BigInt.asIntN(64, keys[i] as bigint))
      const value = Number.isSafeInteger(key) ? this.#values.get(key) : undefined
      out[i] = value ?? ABSENT
      if (value !== undefined) found++
    }
    return found
  }
}

function weight(key: MapKey): number {
  return typeof key === 'number' ? 8 : key.length
}
