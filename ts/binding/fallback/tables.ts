/** Id tables of one thread, in plain TypeScript. Same answers and refusals as `crates/tables`, module `id_table`. */
import { Status } from '../contract.js'
import { type Failures, isWellFormed } from './failures.js'

const MAX_KEY_BYTES = 65_536
const MAX_VALUE = 0xfffffffe
const ABSENT = 0xffffffff
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

export class FallbackIdTable {
  /** String keys, and byte keys that are UTF-8: the same domain. */
  readonly #texts = new Map<string, number>()
  /** Byte keys that no string has. */
  readonly #bytes = new Map<string, number>()
  readonly #numbers = new Map<number, number>()

  get size(): number {
    return this.#texts.size + this.#bytes.size + this.#numbers.size
  }

  /** An estimate: V8 does not say. */
  get bytes(): number {
    return this.size * 64
  }

  set(failures: Failures, key: unknown, value: number): Status | 0 {
    if (!Number.isInteger(value) || value < 0) {
      return failures.set(Status.InvalidArgument, `value is a whole number, not ${value}`, 'value')
    }
    if (value > MAX_VALUE)
      return failures.set(Status.LimitExceeded, `value is at most ${MAX_VALUE}`, 'value', MAX_VALUE)
    const place = this.#place(failures, key)
    if (typeof place === 'number') return place
    place.map.set(place.key, value)
    return 0
  }

  delete(failures: Failures, key: unknown): 0 | 1 | Status {
    const place = this.#place(failures, key)
    if (typeof place === 'number') return place
    return place.map.delete(place.key) ? 1 : 0
  }

  getString(key: unknown): number {
    if (typeof key !== 'string') return Status.InvalidArgument
    return this.#texts.get(key) ?? Status.NoMatch
  }

  getNumber(key: unknown): number {
    if (!Number.isSafeInteger(key)) return Status.InvalidArgument
    return this.#numbers.get(normal(key as number)) ?? Status.NoMatch
  }

  getBytes(key: unknown): number {
    if (!(key instanceof Uint8Array)) return Status.InvalidArgument
    const text = decode(key)
    return (text === undefined ? this.#bytes.get(latin1(key)) : this.#texts.get(text)) ?? Status.NoMatch
  }

  getManyU32(keys: unknown, out: unknown): number {
    if (!(keys instanceof Uint32Array) || !(out instanceof Uint32Array) || out.length < keys.length)
      return Status.InvalidArgument
    return many(keys.length, out, (index) => this.#numbers.get(keys[index] as number))
  }

  getManyU64(keys: unknown, out: unknown): number {
    if (!(keys instanceof BigUint64Array) || !(out instanceof Uint32Array) || out.length < keys.length)
      return Status.InvalidArgument
    return many(keys.length, out, (index) => {
      // Negative numbers keep their two's complement, as in the native table.
      const key = BigInt.asIntN(64, keys[index] as bigint)
      return key >= -MAX_SAFE && key <= MAX_SAFE ? this.#numbers.get(Number(key)) : undefined
    })
  }

  getManyStrings(keys: unknown, lengths: unknown, out: unknown): number {
    return eachString(keys, lengths, out, (key) => this.#texts.get(key))
  }

  #place(failures: Failures, key: unknown): { map: Map<string | number, number>; key: string | number } | Status {
    if (typeof key === 'number') {
      if (!Number.isSafeInteger(key))
        return failures.set(Status.InvalidArgument, `a number key is a safe integer, not ${key}`, 'key')
      return { map: this.#numbers as Map<string | number, number>, key: normal(key) }
    }
    if (typeof key === 'string') {
      if (!isWellFormed(key))
        return failures.set(Status.InvalidArgument, 'key has a surrogate without its partner', 'key')
      const status = this.#length(failures, key.length > MAX_KEY_BYTES ? key.length : Buffer.byteLength(key))
      return status === 0 ? { map: this.#texts as Map<string | number, number>, key } : status
    }
    if (key instanceof Uint8Array) {
      const status = this.#length(failures, key.length)
      if (status !== 0) return status
      const text = decode(key)
      return text === undefined
        ? { map: this.#bytes as Map<string | number, number>, key: latin1(key) }
        : { map: this.#texts as Map<string | number, number>, key: text }
    }
    return failures.set(Status.InvalidArgument, 'a key is a string, a number or a Uint8Array', 'key')
  }

  #length(failures: Failures, length: number): Status | 0 {
    if (length === 0) return failures.set(Status.InvalidArgument, 'the key is empty; it needs 1 byte or more', 'key')
    if (length > MAX_KEY_BYTES) {
      return failures.set(
        Status.InvalidArgument,
        `a key of ${length} bytes; at most ${MAX_KEY_BYTES} are allowed`,
        'key',
      )
    }
    return 0
  }
}

const MAX_SAFE = BigInt(Number.MAX_SAFE_INTEGER)

/** -0 and 0 are one key. */
function normal(key: number): number {
  return key === 0 ? 0 : key
}

function decode(bytes: Uint8Array): string | undefined {
  try {
    return decoder.decode(bytes)
  } catch {
    return undefined
  }
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')
}

function many(count: number, out: Uint32Array, look: (index: number) => number | undefined): number {
  let found = 0
  for (let index = 0; index < count; index++) {
    const value = look(index)
    out[index] = value ?? ABSENT
    if (value !== undefined) found++
  }
  return found
}

/** Looks up each of the strings joined in `keys`, cut by `lengths`. */
export function eachString(
  keys: unknown,
  lengths: unknown,
  out: unknown,
  look: (key: string) => number | undefined,
): number {
  if (
    typeof keys !== 'string' ||
    !(lengths instanceof Uint32Array) ||
    !(out instanceof Uint32Array) ||
    out.length < lengths.length
  ) {
    return Status.InvalidArgument
  }
  let start = 0
  let found = 0
  for (let index = 0; index < lengths.length; index++) {
    const end = start + (lengths[index] as number)
    if (end > keys.length) return Status.InvalidArgument
    const value = look(keys.slice(start, end))
    out[index] = value ?? ABSENT
    if (value !== undefined) found++
    start = end
  }
  return found
}
