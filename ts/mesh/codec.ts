/**
 * Bodies on a lane. `Uint8Array` and strings travel raw; `undefined` as nothing; everything else through the codec.
 *
 * A received body is the receiver's own, for as long as it likes; its `buffer` may hold other bodies, too, as that of a
 * `Buffer` may (see {@link BodySlab}).
 *
 * The encoder fills one reused {@link Encoded}, so that a body goes from the value straight into the lane's memory.
 */
import { Buffer } from 'node:buffer'
import { deserialize, serialize } from 'node:v8'
import { LinkmeshError } from '../errors.js'
import { BodySlab } from './body-slab.js'

/** Turns values into bytes and back. Both ends of a lane need the codec under the same name. */
export interface Codec {
  /** 1 to 64 characters; carried with each body, so a mismatch is an error and never a wrong value. */
  name: string
  encode(value: unknown): Uint8Array
  /** `bytes` may be kept. They begin at a multiple of eight of `bytes.buffer`, which may hold other bodies, too. */
  decode(bytes: Uint8Array): unknown
}

/** `json` (default), `v8` (structured clone: Map, Set, Date, typed arrays, cycles), or your own. */
export type CodecOption = 'json' | 'v8' | Codec

export const BodyKind = { None: 0, Bytes: 1, Text: 2, Json: 3, V8: 4, Own: 5, Buffer: 6 } as const

/** An encoded body: text (with its byte length) or bytes. */
export class Encoded {
  kind: number = BodyKind.None
  text = ''
  bytes: Uint8Array | undefined = undefined
  /** UTF-8 length of `text`, or length of `bytes`. */
  length = 0
  /** True when `text` is ASCII: one byte a character. */
  ascii = true
}

/** Below this a loop over the characters beats a call into the runtime. */
const SHORT = 128

function setText(out: Encoded, kind: number, text: string): void {
  out.kind = kind
  out.text = text
  out.bytes = undefined
  const length = text.length
  if (length <= SHORT) {
    for (let index = 0; index < length; index++) {
      if (text.charCodeAt(index) > 127) {
        out.ascii = false
        out.length = Buffer.byteLength(text)
        return
      }
    }
    out.ascii = true
    out.length = length
    return
  }
  out.length = Buffer.byteLength(text)
  out.ascii = out.length === length
}

function setBytes(out: Encoded, kind: number, bytes: Uint8Array): void {
  out.kind = kind
  out.text = ''
  out.bytes = bytes
  out.length = bytes.byteLength
}

/** Where a body lies: one memory, as a Buffer and as a plain array. */
export interface Memory {
  readonly bytes: Buffer
  readonly u8: Uint8Array
}

export class BodyCodec {
  readonly #own: Codec | undefined
  readonly #v8: boolean
  readonly #slab = new BodySlab()
  /** Carried in frames whose body the own codec made. */
  readonly ownHash: number

  constructor(option: CodecOption) {
    this.#v8 = option === 'v8'
    this.#own = typeof option === 'object' ? option : undefined
    this.ownHash = this.#own === undefined ? 0 : hashName(this.#own.name)
  }

  encode(value: unknown, out: Encoded): void {
    if (value === undefined) {
      out.kind = BodyKind.None
      out.text = ''
      out.bytes = undefined
      out.length = 0
      return
    }
    if (typeof value === 'string') {
      setText(out, BodyKind.Text, value)
      // UTF-8 has no lone surrogates; such a string goes through the codec, whose JSON escapes them.
      if (out.ascii || (value as unknown as { isWellFormed(): boolean }).isWellFormed()) return
    }
    if (value instanceof Uint8Array) {
      setBytes(out, Buffer.isBuffer(value) ? BodyKind.Buffer : BodyKind.Bytes, value)
      return
    }
    try {
      if (this.#own !== undefined) {
        const bytes = this.#own.encode(value)
        if (!(bytes instanceof Uint8Array)) throw new TypeError('encode() must return a Uint8Array')
        setBytes(out, BodyKind.Own, bytes)
        return
      }
      if (this.#v8) {
        setBytes(out, BodyKind.V8, serialize(value))
        return
      }
      const text = JSON.stringify(value)
      // A function or a symbol: silently dropping it would hand the other side `undefined`.
      if (text === undefined) throw new TypeError(`a ${typeof value} has no JSON form`)
      setText(out, BodyKind.Json, text)
      return
    } catch (cause) {
      throw new LinkmeshError('LM_CODEC', `the body cannot be encoded: ${words(cause)}`, { field: 'body', cause })
    }
  }

  /** Bytes from `start` to `end` must not be kept: the lane's bytes are reused, so what is returned owns its memory. */
  decode(kind: number, memory: Memory, start: number, end: number, ownHash: number): unknown {
    const { bytes, u8 } = memory
    try {
      switch (kind) {
        case BodyKind.None:
          return undefined
        case BodyKind.Bytes:
          return this.#slab.copy(u8, start, end)
        case BodyKind.Buffer:
          return Buffer.from(bytes.subarray(start, end))
        case BodyKind.Text:
          return bytes.toString('utf8', start, end)
        case BodyKind.Json:
          return JSON.parse(bytes.toString('utf8', start, end))
        case BodyKind.V8:
          return deserialize(Buffer.from(bytes.subarray(start, end)))
        case BodyKind.Own:
          if (this.#own === undefined || ownHash !== this.ownHash) {
            throw new TypeError(
              'it was made by a codec that this thread does not have: open and attach with the same codec',
            )
          }
          return this.#own.decode(this.#slab.copy(u8, start, end))
        default:
          throw new TypeError(`unknown kind ${kind}`)
      }
    } catch (cause) {
      throw new LinkmeshError('LM_CODEC', `the body cannot be decoded: ${words(cause)}`, {
        field: 'body',
        outcome: 'delivered',
        cause,
      })
    }
  }
}

function words(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause)
}

function hashName(name: string): number {
  let hash = 0x811c9dc5
  for (let index = 0; index < name.length; index++) hash = Math.imul(hash ^ name.charCodeAt(index), 0x01000193)
  return hash >>> 0
}
