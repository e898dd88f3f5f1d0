import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { SLAB_BYTES } from '../../ts/mesh/body-slab.js'
import { BodyCodec, BodyKind, type CodecOption, Encoded } from '../../ts/mesh/codec.js'

const viewsOf = (bytes: Buffer) => ({ bytes, u8: new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length) })

function across(value: unknown, option: CodecOption = 'json', other: CodecOption = option): unknown {
  const sender = new BodyCodec(option)
  const encoded = new Encoded()
  sender.encode(value, encoded)
  const memory = Buffer.alloc(encoded.length + 16, 0xee)
  if (encoded.bytes !== undefined) memory.set(encoded.bytes, 8)
  else memory.write(encoded.text, 8, 'utf8')
  const decoded = new BodyCodec(other).decode(encoded.kind, viewsOf(memory), 8, 8 + encoded.length, sender.ownHash)
  // The lane's bytes are used again: what came out must not change with them.
  memory.fill(0xff)
  return decoded
}

describe('bodies', () => {
  it('carries every string exactly, lone surrogates included', () => {
    for (const text of ['', 'a', 'ü', '😀', '\0', 'x'.repeat(5_000), 'é'.repeat(3_000), '\ud800', 'a\udc00b'])
      expect(across(text)).toBe(text)
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 300 }), (text) => {
        expect(across(text)).toBe(text)
      }),
    )
  })

  it('carries bytes as what they were, in memory of their own', () => {
    for (const length of [0, 1, 63, 64, 65, 127, 128, 129, 4_096]) {
      const bytes = Uint8Array.from({ length }, (_, index) => index)
      const plain = across(bytes) as Uint8Array
      expect(plain.constructor).toBe(Uint8Array)
      expect(plain).toEqual(bytes)
      expect(Buffer.isBuffer(across(Buffer.from(bytes)))).toBe(true)
      expect(across(Buffer.from(bytes))).toEqual(Buffer.from(bytes))
    }
  })

  it('gives each body bytes that nobody else gets, however many are kept', () => {
    const sender = new BodyCodec('json')
    const receiver = new BodyCodec('json')
    const lane = Buffer.alloc(16_384)
    const encoded = new Encoded()
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 6_000 }), { minLength: 50, maxLength: 200 }), (lengths) => {
        const kept = lengths.map((length, index) => {
          sender.encode(new Uint8Array(length).fill(index), encoded)
          lane.set(encoded.bytes as Uint8Array, 8)
          return receiver.decode(encoded.kind, viewsOf(lane), 8, 8 + length, 0) as Uint8Array
        })
        // A handler may write what it likes into its own.
        for (const body of kept) for (let at = 0; at < body.length; at++) body[at] = (body[at] as number) ^ 0x55
        kept.forEach((body, index) => {
          expect(body.length).toBe(lengths[index])
          expect(body.every((byte) => byte === ((index & 0xff) ^ 0x55))).toBe(true)
          expect(body.byteOffset % 8).toBe(0)
          // What a kept body holds on to.
          expect(body.buffer.byteLength).toBeLessThanOrEqual(Math.max(body.length, SLAB_BYTES))
          if (body.length <= 64) expect(body.buffer.byteLength).toBe(body.length)
        })
      }),
      { numRuns: 20 },
    )
  })

  it('moves no body out from under its neighbours when one is transferred', () => {
    const receiver = new BodyCodec('json')
    const lane = Buffer.alloc(400, 7)
    const [one, other] = [0, 200].map((at) => receiver.decode(BodyKind.Bytes, viewsOf(lane), at, at + 200, 0)) as [
      Uint8Array,
      Uint8Array,
    ]
    expect(one.buffer).toBe(other.buffer)
    // Node.js 20 copies what must not be transferred, later ones refuse.
    try {
      structuredClone(one, { transfer: [one.buffer as ArrayBuffer] })
    } catch (error) {
      expect((error as Error).name).toBe('DataCloneError')
    }
    expect([...other]).toEqual(Array(200).fill(7))
    expect(new Uint8Array(structuredClone(one.slice()).buffer)).toEqual(new Uint8Array(200).fill(7))
  })

  it('carries JSON values, and v8 values with their types', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(across(value)).toEqual(JSON.parse(JSON.stringify(value)))
      }),
    )
    const rich = { at: new Date(5), map: new Map([[1, new Set(['x'])]]), nothing: undefined, big: 2n ** 80n }
    expect(across(rich, 'v8')).toEqual(rich)
    expect(across(undefined)).toBeUndefined()
    expect(across(null)).toBeNull()
  })

  it('refuses what has no form, and names the body', () => {
    const circle: Record<string, unknown> = {}
    circle.self = circle
    for (const value of [circle, 1n, () => 1, Symbol('s')]) {
      expect(() => across(value)).toThrow(expect.objectContaining({ code: 'LM_CODEC', field: 'body' }))
    }
    expect(() => across(() => 1, 'v8')).toThrow(expect.objectContaining({ code: 'LM_CODEC' }))
  })

  it('takes a codec of your own, and refuses a body that another codec made', () => {
    const shout: CodecOption = {
      name: 'shout',
      encode: (value) => Buffer.from(String(value).toUpperCase()),
      decode: (bytes) => Buffer.from(bytes).toString(),
    }
    expect(across(123n, shout)).toBe('123')
    const whisper: CodecOption = { ...shout, name: 'whisper' }
    expect(() => across(123n, shout, whisper)).toThrow(expect.objectContaining({ code: 'LM_CODEC' }))
    expect(() => across(123n, shout, 'json')).toThrow(expect.objectContaining({ code: 'LM_CODEC' }))
    const wrong = { ...shout, encode: () => 'text' } as unknown as CodecOption
    expect(() => across(1, wrong)).toThrow(/Uint8Array/)
  })

  it('refuses bytes that are no body', () => {
    const codec = new BodyCodec('json')
    const memory = Buffer.from('{"a":')
    for (const kind of [BodyKind.Json, BodyKind.V8, BodyKind.Own, 99]) {
      expect(() => codec.decode(kind, viewsOf(memory), 0, memory.length, 0)).toThrow(
        expect.objectContaining({ code: 'LM_CODEC' }),
      )
    }
  })
})
