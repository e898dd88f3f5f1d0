import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { createFallback } from '../../ts/binding/fallback/index.js'
import { LinkmeshError } from '../../ts/errors.js'
import { ABSENT, CompressedRadixArena, FingerprintedIdTable, Ring, SPANS_LENGTH } from '../../ts/tables.js'

/** The error that `work` throws. */
function refusal(work: () => unknown): LinkmeshError {
  try {
    work()
  } catch (error) {
    if (error instanceof LinkmeshError) return error
    throw error
  }
  throw new Error('nothing was refused')
}

let names = 0
const freshName = () => `tables-test-${process.pid}-${names++}`

describe('FingerprintedIdTable', () => {
  it('keeps strings, numbers and bytes apart, except that a string equals its UTF-8 bytes', () => {
    using table = new FingerprintedIdTable()
    table
      .set('7', 1)
      .set(7, 2)
      .set(new Uint8Array([0xff]), 3)
      .set('ключ', 4)
    expect(table.get('7')).toBe(1)
    expect(table.get(7)).toBe(2)
    expect(table.get(new Uint8Array([0x37]))).toBe(1)
    expect(table.get(new Uint8Array([0xff]))).toBe(3)
    expect(table.get('ÿ')).toBe(-1)
    expect(table.get(Buffer.from('ключ'))).toBe(4)
    expect(table.size).toBe(4)
    expect(table.has('nobody')).toBe(false)
    expect(table.delete('7')).toBe(true)
    expect(table.delete('7')).toBe(false)
    expect(table.get(7)).toBe(2)
    expect(table.size).toBe(3)
  })

  it('treats __proto__, NUL and astral characters as keys like any other', () => {
    using table = new FingerprintedIdTable()
    const keys = ['__proto__', 'constructor', 'a\0b', 'a', '\0', '😀', 'é', 'e\u0301', '\ufeffbom', 'x'.repeat(65_536)]
    for (const [i, key] of keys.entries()) table.set(key, i)
    for (const [i, key] of keys.entries()) expect(table.get(key), JSON.stringify(key.slice(0, 9))).toBe(i)
    expect(table.size).toBe(keys.length)
  })

  it('takes every safe integer, and both zeros as one', () => {
    using table = new FingerprintedIdTable()
    table.set(0, 1).set(Number.MAX_SAFE_INTEGER, 2).set(Number.MIN_SAFE_INTEGER, 3).set(-1, 4)
    expect(table.get(-0)).toBe(1)
    const out = table.getMany(
      new BigUint64Array([
        0n,
        9007199254740991n,
        BigInt.asUintN(64, -9007199254740991n),
        BigInt.asUintN(64, -1n),
        2n ** 63n,
      ]),
    )
    expect([...out]).toEqual([1, 2, 3, 4, ABSENT])
  })

  it('answers batches of any length like single look-ups', () => {
    using table = new FingerprintedIdTable({ capacity: 10_000 })
    const keys = Array.from({ length: 10_000 }, (_, i) => `key-${i}-${'é'.repeat(i % 5)}`)
    for (const [i, key] of keys.entries()) if (i % 3 !== 0) table.set(key, i)
    const out = table.getMany(keys)
    for (let i = 0; i < keys.length; i++) expect(out[i]).toBe(i % 3 === 0 ? ABSENT : i)
    for (let i = 0; i < 2_000; i++) table.set(i, i * 2)
    const many = table.getMany(new Uint32Array([5, 1_999, 2_000, 0xffffffff]))
    expect([...many]).toEqual([10, 3_998, ABSENT, ABSENT])
    const kept = new Uint32Array([9, 9, 9])
    expect(table.getMany(['key-1-é'], kept)).toBe(kept)
    expect([...kept]).toEqual([1, 9, 9])
    expect([...table.getMany([])]).toEqual([])
    // Halves of a pair that meet at a seam are two lone surrogates, not a character.
    table.set('😀', 7)
    expect([...table.getMany(['\ud83d', '\ude00', '😀'])]).toEqual([ABSENT, ABSENT, 7])
  })

  it.each([
    ['an empty key', () => new FingerprintedIdTable().set('', 1), 'LM_INVALID_ARGUMENT', 'key', 1],
    ['empty bytes', () => new FingerprintedIdTable().set(new Uint8Array(), 1), 'LM_INVALID_ARGUMENT', 'key', 1],
    [
      'a key of 65,537 bytes',
      () => new FingerprintedIdTable().set('x'.repeat(65_537), 1),
      'LM_LIMIT_EXCEEDED',
      'key',
      65_536,
    ],
    [
      'a key too long in bytes only',
      () => new FingerprintedIdTable().set('é'.repeat(32_769), 1),
      'LM_LIMIT_EXCEEDED',
      'key',
      65_536,
    ],
    ['a lone surrogate', () => new FingerprintedIdTable().set('a\ud800', 1), 'LM_INVALID_ARGUMENT', 'key', undefined],
    ['a fraction as key', () => new FingerprintedIdTable().set(0.5, 1), 'LM_INVALID_ARGUMENT', 'key', undefined],
    ['NaN as key', () => new FingerprintedIdTable().get(Number.NaN), 'LM_INVALID_ARGUMENT', 'key', undefined],
    ['an unsafe integer', () => new FingerprintedIdTable().set(2 ** 53, 1), 'LM_INVALID_ARGUMENT', 'key', undefined],
    [
      'no key at all',
      () => new FingerprintedIdTable().get(undefined as never),
      'LM_INVALID_ARGUMENT',
      'key',
      undefined,
    ],
    ['an object as key', () => new FingerprintedIdTable().set({} as never, 1), 'LM_INVALID_ARGUMENT', 'key', undefined],
    ['the reserved value', () => new FingerprintedIdTable().set('k', ABSENT), 'LM_LIMIT_EXCEEDED', 'value', 0xfffffffe],
    ['a negative value', () => new FingerprintedIdTable().set('k', -1), 'LM_INVALID_ARGUMENT', 'value', undefined],
    ['NaN as value', () => new FingerprintedIdTable().set('k', Number.NaN), 'LM_INVALID_ARGUMENT', 'value', undefined],
    [
      'a value that is no number',
      () => new FingerprintedIdTable().set('k', '1' as never),
      'LM_INVALID_ARGUMENT',
      'value',
      undefined,
    ],
    [
      'a huge capacity',
      () => new FingerprintedIdTable({ capacity: 2 ** 28 + 1 }),
      'LM_LIMIT_EXCEEDED',
      'capacity',
      2 ** 28,
    ],
    [
      'an infinite capacity',
      () => new FingerprintedIdTable({ capacity: Number.POSITIVE_INFINITY }),
      'LM_INVALID_ARGUMENT',
      'capacity',
      undefined,
    ],
    ['an empty name', () => new FingerprintedIdTable({ name: '' }), 'LM_INVALID_ARGUMENT', 'name', 1],
    ['an overlong name', () => new FingerprintedIdTable({ name: 'n'.repeat(257) }), 'LM_LIMIT_EXCEEDED', 'name', 256],
    [
      'a short out',
      () => new FingerprintedIdTable().getMany(['a', 'b'], new Uint32Array(1)),
      'LM_INVALID_ARGUMENT',
      'out',
      2,
    ],
    [
      'a batch of something else',
      () => new FingerprintedIdTable().getMany(['a', 1 as never]),
      'LM_INVALID_ARGUMENT',
      '[1]',
      undefined,
    ],
    [
      'keys of another kind',
      () => new FingerprintedIdTable().getMany(new Uint8Array(1) as never),
      'LM_INVALID_ARGUMENT',
      'keys',
      undefined,
    ],
  ])('refuses %s', (_, work, code, field, limit) => {
    expect(refusal(work)).toMatchObject({ code, field, ...(limit === undefined ? {} : { limit }) })
  })

  it('is closed once, and says so afterwards', () => {
    const table = new FingerprintedIdTable()
    table.close()
    table.close()
    for (const work of [
      () => table.get('a'),
      () => table.set('a', 1),
      () => table.delete('a'),
      () => table.getMany(['a']),
      () => table.size,
    ]) {
      expect(refusal(work).code).toBe('LM_CLOSED')
    }
  })

  it('is one table for everybody who opens its name, until the last one closes it', () => {
    const name = freshName()
    const first = new FingerprintedIdTable({ name })
    const second = new FingerprintedIdTable({ name })
    first.set('k', 1)
    expect(second.get('k')).toBe(1)
    first.close()
    expect(second.get('k')).toBe(1)
    second.close()
    using third = new FingerprintedIdTable({ name })
    expect(third.get('k')).toBe(-1)
  })
})

describe('CompressedRadixArena', () => {
  it('finds the most specific pattern and its parameters', () => {
    using routes = new CompressedRadixArena()
    routes
      .insert('/users', 1)
      .insert('/users/:id', 2)
      .insert('/users/me', 3)
      .insert('/users/{id}/posts/{post}', 4)
      .insert('/files/{name}.json', 5)
      .insert('/files/*', 6)
      .insert('/static/**', 7)
      .insert('/v1/{name=projects/*/topics/*}:publish', 8)
    const spans = new Uint32Array(SPANS_LENGTH)
    const match = (path: string) => {
      const value = routes.match(path, spans)
      return value === -1 ? -1 : [value, { ...routes.params(path, spans) }]
    }
    expect(match('/users')).toEqual([1, {}])
    expect(match('/users/42')).toEqual([2, { id: '42' }])
    expect(match('/users/me')).toEqual([3, {}])
    expect(match('/users/é😀/posts/9')).toEqual([4, { id: 'é😀', post: '9' }])
    expect(match('/files/a.json')).toEqual([5, { name: 'a' }])
    expect(match('/files/.json')).toEqual([6, { '*': '.json' }])
    expect(match('/static/css/a.css')).toEqual([7, { '**': 'css/a.css' }])
    expect(match('/static')).toEqual([7, { '**': '' }])
    expect(match('/v1/projects/p/topics/t:publish')).toEqual([8, { name: 'projects/p/topics/t' }])
    expect(match('/users/')).toBe(-1)
    expect(match('/users/1/posts/')).toBe(-1)
    expect(match('')).toBe(-1)
    expect(routes.size).toBe(8)
    expect(routes.delete('/users/{anything}')).toBe(true)
    expect(match('/users/42')).toBe(-1)
    expect(routes.delete('/users/:id')).toBe(false)
  })

  it('goes back when a more specific way ends nowhere', () => {
    using routes = new CompressedRadixArena()
    routes.insert('/a/b/c/d', 1).insert('/a/:x/c', 2).insert('/:y/b/**', 3).insert('/**', 4)
    expect(routes.match('/a/b/c/d')).toBe(1)
    expect(routes.match('/a/b/c')).toBe(2)
    expect(routes.match('/a/b/z')).toBe(3)
    expect(routes.match('/a/z')).toBe(4)
    expect([...routes.matchMany(['/a/b/c', 'nothing', '/'])]).toEqual([2, ABSENT, 4])
  })

  it('replaces an equal pattern with its value and names', () => {
    using routes = new CompressedRadixArena()
    const spans = new Uint32Array(SPANS_LENGTH)
    routes.insert('/u/:a', 1)
    expect(routes.match('/u/x', spans)).toBe(1)
    expect(routes.params('/u/x', spans).a).toBe('x')
    routes.insert('/u/{b}', 2)
    expect(routes.match('/u/x', spans)).toBe(2)
    expect({ ...routes.params('/u/x', spans) }).toEqual({ b: 'x' })
    expect(routes.size).toBe(1)
  })

  it('has parameters of any name, __proto__ too', () => {
    using routes = new CompressedRadixArena()
    routes.insert('/:__proto__/:constructor', 1)
    const spans = new Uint32Array(SPANS_LENGTH)
    routes.match('/a/b', spans)
    const params = routes.params('/a/b', spans)
    expect(Object.keys(params)).toEqual(['__proto__', 'constructor'])
    expect(Object.getPrototypeOf(params)).toBe(null)
  })

  it('never reads the captures of an earlier match', () => {
    using routes = new CompressedRadixArena()
    routes.insert('/:a/:b', 1)
    const spans = new Uint32Array(SPANS_LENGTH)
    routes.match('/x/y', spans)
    routes.match('/x', spans)
    expect(refusal(() => routes.params('/x', spans))).toMatchObject({ code: 'LM_INVALID_ARGUMENT', field: 'spans' })
    const short = new Uint32Array(5)
    expect(routes.match('/x/y', short)).toBe(1)
    expect(refusal(() => routes.params('/x/y', short)).field).toBe('spans')
  })

  it('finds the longest literal prefix, apart from patterns', () => {
    using routes = new CompressedRadixArena()
    routes.insertPrefix('orders.', 1).insertPrefix('orders.eu.', 2).insertPrefix('é', 3).insert('/orders./**', 9)
    expect(routes.longestPrefix('orders.eu.created')).toBe(2)
    expect(routes.longestPrefix('orders.us')).toBe(1)
    expect(routes.longestPrefix('orders')).toBe(-1)
    expect(routes.longestPrefix('éa')).toBe(3)
    expect(routes.deletePrefix('orders.eu.')).toBe(true)
    expect(routes.longestPrefix('orders.eu.created')).toBe(1)
    expect(routes.match('orders.')).toBe(-1)
    expect(routes.longestPrefix('/orders./a')).toBe(-1)
  })

  it.each([
    ['an empty pattern', (r: CompressedRadixArena) => r.insert('', 1), 'LM_INVALID_ARGUMENT', 'pattern'],
    ['a NUL', (r: CompressedRadixArena) => r.insert('/a\0', 1), 'LM_INVALID_ARGUMENT', 'pattern'],
    ['an open brace', (r: CompressedRadixArena) => r.insert('/{a', 1), 'LM_INVALID_ARGUMENT', 'pattern'],
    ['a closing brace', (r: CompressedRadixArena) => r.insert('/a}', 1), 'LM_INVALID_ARGUMENT', 'pattern'],
    ['a nameless capture', (r: CompressedRadixArena) => r.insert('/:', 1), 'LM_INVALID_ARGUMENT', 'pattern'],
    ['the same name twice', (r: CompressedRadixArena) => r.insert('/:a/:a', 1), 'LM_INVALID_ARGUMENT', 'pattern'],
    [
      'two captures in a segment',
      (r: CompressedRadixArena) => r.insert('/{a}{b}', 1),
      'LM_INVALID_ARGUMENT',
      'pattern',
    ],
    ['** in the middle', (r: CompressedRadixArena) => r.insert('/**/a', 1), 'LM_INVALID_ARGUMENT', 'pattern'],
    ['a lone surrogate', (r: CompressedRadixArena) => r.insert('/\udc00', 1), 'LM_INVALID_ARGUMENT', 'pattern'],
    ['4,097 bytes', (r: CompressedRadixArena) => r.insert('/'.padEnd(4_097, 'a'), 1), 'LM_LIMIT_EXCEEDED', 'pattern'],
    ['257 segments', (r: CompressedRadixArena) => r.insert('/a'.repeat(256), 1), 'LM_LIMIT_EXCEEDED', 'pattern'],
    [
      '33 captures',
      (r: CompressedRadixArena) => r.insert(Array.from({ length: 33 }, (_, i) => `/:p${i}`).join(''), 1),
      'LM_LIMIT_EXCEEDED',
      'pattern',
    ],
    ['an empty prefix', (r: CompressedRadixArena) => r.insertPrefix('', 1), 'LM_INVALID_ARGUMENT', 'pattern'],
    [
      'a prefix of 4,097 bytes',
      (r: CompressedRadixArena) => r.insertPrefix('p'.repeat(4_097), 1),
      'LM_LIMIT_EXCEEDED',
      'pattern',
    ],
    ['a value beyond the last', (r: CompressedRadixArena) => r.insert('/a', 2 ** 32), 'LM_LIMIT_EXCEEDED', 'value'],
    ['a path that is none', (r: CompressedRadixArena) => r.match(1 as never), 'LM_INVALID_ARGUMENT', 'path'],
    ['a key that is none', (r: CompressedRadixArena) => r.longestPrefix(null as never), 'LM_INVALID_ARGUMENT', 'key'],
    ['a pattern that is none', (r: CompressedRadixArena) => r.insert({} as never, 1), 'LM_INVALID_ARGUMENT', 'pattern'],
  ])('refuses %s and changes nothing', (_, work, code, field) => {
    using routes = new CompressedRadixArena()
    expect(refusal(() => work(routes))).toMatchObject({ code, field })
    expect(routes.size).toBe(0)
  })
})

describe('Ring', () => {
  it.each(['spsc', 'mpmc'] as const)('%s: keeps records whole and in order, and says when it is full', (kind) => {
    using ring = new Ring({ kind, capacityBytes: 64 })
    let pushed = 0
    let popped = 0
    for (let round = 0; round < 200; round++) {
      while (ring.push(new Uint8Array((pushed * 7) % 23).fill(pushed))) pushed++
      expect(ring.length).toBe(pushed - popped)
      for (let i = 0; i <= round % 3 && popped < pushed; i++, popped++) {
        expect(ring.pop()).toEqual(new Uint8Array((popped * 7) % 23).fill(popped))
      }
    }
    while (ring.pop() !== null) popped++
    expect(popped).toBe(pushed)
    expect(ring.pop(new Uint8Array(8))).toBe(-1)
  })

  it('leaves a record that is longer than out', () => {
    using ring = new Ring({ kind: 'spsc', capacityBytes: 4_096 })
    ring.push(new Uint8Array(1_000).fill(3))
    expect(refusal(() => ring.pop(new Uint8Array(999)))).toMatchObject({
      code: 'LM_LIMIT_EXCEEDED',
      field: 'out',
      limit: 999,
    })
    expect(ring.length).toBe(1)
    expect(ring.pop()).toEqual(new Uint8Array(1_000).fill(3))
    const out = new Uint8Array(8)
    ring.push(new Uint8Array([1, 2]))
    expect(ring.pop(out)).toBe(2)
    expect([...out.subarray(0, 3)]).toEqual([1, 2, 0])
  })

  it.each([
    [
      'a record that never fits',
      () => new Ring({ kind: 'spsc', capacityBytes: 64 }).push(new Uint8Array(61)),
      'LM_LIMIT_EXCEEDED',
      'bytes',
    ],
    [
      'a record that is no bytes',
      () => new Ring({ kind: 'spsc', capacityBytes: 64 }).push('x' as never),
      'LM_INVALID_ARGUMENT',
      'bytes',
    ],
    ['too small a ring', () => new Ring({ kind: 'spsc', capacityBytes: 63 }), 'LM_INVALID_ARGUMENT', 'capacityBytes'],
    [
      'too large a ring',
      () => new Ring({ kind: 'mpmc', capacityBytes: 2 ** 28 + 1 }),
      'LM_LIMIT_EXCEEDED',
      'capacityBytes',
    ],
    ['half a byte', () => new Ring({ kind: 'mpmc', capacityBytes: 64.5 }), 'LM_INVALID_ARGUMENT', 'capacityBytes'],
    ['no capacity', () => new Ring({ kind: 'mpmc' } as never), 'LM_INVALID_ARGUMENT', 'capacityBytes'],
    ['another kind', () => new Ring({ kind: 'mpsc' as never, capacityBytes: 64 }), 'LM_INVALID_ARGUMENT', 'kind'],
    ['no options', () => new Ring(undefined as never), 'LM_INVALID_ARGUMENT', 'options'],
  ])('refuses %s', (_, work, code, field) => {
    expect(refusal(work)).toMatchObject({ code, field })
  })
})

it('the fallback has the version of the package', () => {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))
  expect(createFallback().info().version).toBe(version)
})
