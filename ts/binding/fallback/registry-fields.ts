/**
 * Reads one JSON object strictly: every field typed, unknown ones refused, each refusal with its path. The rules and
 * their order are those of `crates/registry/src/fields.rs`.
 */
import { invalid } from './edge.js'
import { isGraphic, outOfRange, REGISTRY_LIMITS, tooMany } from './registry-validate.js'
import { isWellFormed, utf8Length } from './text.js'

/** The fields of one object, taken one by one. */
export class Fields {
  readonly #path: string
  readonly #values: Map<string, unknown>

  private constructor(value: unknown, root: string, path: string, allowed: readonly string[]) {
    this.#path = path
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      throw invalid(root, `${root} must be an object`)
    this.#values = new Map(Object.entries(value))
    const unknown = [...this.#values.keys()].filter((key) => !allowed.includes(key)).sort(inByteOrder)[0]
    if (unknown === undefined) return
    const known = allowed.join(', ')
    if (utf8Length(unknown) > REGISTRY_LIMITS.metadataKeyBytes || !isGraphic(unknown))
      throw invalid(root, `${root} has an unknown field; known are ${known}`)
    throw invalid(this.at(unknown), `${this.at(unknown)} is not a field; known are ${known}`)
  }

  /**
   * Parses `json`, at most 256 KiB, as an object that has no other fields than `allowed`. `root` names it in
   * refusals. With `qualified`, the paths of its fields begin with it: `policy.timeoutMs`.
   */
  static parse(json: string, root: string, qualified: boolean, allowed: readonly string[]): Fields {
    if (json.length > REGISTRY_LIMITS.jsonBytes || utf8Length(json) > REGISTRY_LIMITS.jsonBytes)
      throw tooMany(root, REGISTRY_LIMITS.jsonBytes, 'bytes of JSON')
    let value: unknown
    try {
      value = JSON.parse(json)
    } catch {
      throw invalid(root, `${root} must be JSON`)
    }
    // JSON can escape half a surrogate pair, which no UTF-8 string holds.
    if (!isWellFormed(json) || (SURROGATE_ESCAPE.test(json) && !isAllWellFormed(value)))
      throw invalid(root, `${root} must be JSON`)
    return new Fields(value, root, qualified ? root : '', allowed)
  }

  /** Path of a field of this object. */
  at(key: string): string {
    return this.#path === '' ? key : `${this.#path}.${key}`
  }

  string(key: string): string | undefined {
    const value = this.#values.get(key)
    if (value === undefined || typeof value === 'string') return value
    throw invalid(this.at(key), `${this.at(key)} must be a string`)
  }

  boolean(key: string): boolean | undefined {
    const value = this.#values.get(key)
    if (value === undefined || typeof value === 'boolean') return value
    throw invalid(this.at(key), `${this.at(key)} must be true or false`)
  }

  /** A number between `min` and `max`. */
  number(key: string, min: number, max: number): number | undefined {
    const value = this.#values.get(key)
    if (value === undefined) return undefined
    if (typeof value !== 'number') throw invalid(this.at(key), `${this.at(key)} must be a number`)
    if (!(value >= min && value <= max)) throw outOfRange(this.at(key), min, max, value)
    return value
  }

  /** A whole number between `min` and `max`. */
  integer(key: string, min: number, max: number): number | undefined {
    const value = this.number(key, min, max)
    if (value === undefined) return undefined
    if (!Number.isInteger(value)) throw invalid(this.at(key), `${this.at(key)} must be a whole number`)
    return value + 0 // never -0
  }

  strings(key: string): string[] | undefined {
    const value = this.#values.get(key)
    if (value === undefined) return undefined
    if (!Array.isArray(value)) throw invalid(this.at(key), `${this.at(key)} must be an array of strings`)
    return value.map((item: unknown, index) => {
      if (typeof item === 'string') return item
      throw invalid(`${this.at(key)}[${index}]`, `${this.at(key)}[${index}] must be a string`)
    })
  }

  /** An object whose values are strings, in the order of its keys. */
  stringMap(key: string): Map<string, string> | undefined {
    const value = this.#values.get(key)
    if (value === undefined) return undefined
    const wrong = () => invalid(this.at(key), `${this.at(key)} must be an object of strings`)
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw wrong()
    const entries = Object.entries(value).sort(([a], [b]) => inByteOrder(a, b))
    return new Map(
      entries.map(([name, text]: [string, unknown]) => {
        if (typeof text !== 'string') throw wrong()
        return [name, text]
      }),
    )
  }

  /** An object inside this one. */
  object(key: string, allowed: readonly string[]): Fields | undefined {
    const value = this.#values.get(key)
    return value === undefined ? undefined : new Fields(value, this.at(key), this.at(key), allowed)
  }
}

const SURROGATE_ESCAPE = /\\u[dD][89a-fA-F]/

function isAllWellFormed(value: unknown): boolean {
  if (typeof value === 'string') return isWellFormed(value)
  if (typeof value !== 'object' || value === null) return true
  return Object.entries(value).every(([key, item]) => isWellFormed(key) && isAllWellFormed(item))
}

/** Order of the UTF-8 bytes, which differs from that of `<` only beyond the basic plane. */
export function inByteOrder(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b))
}
