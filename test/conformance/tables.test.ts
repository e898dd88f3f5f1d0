/** Tables at the level of the contract: statuses, what is written where, and what a refusal leaves behind. */
import { expect, it } from 'vitest'
import { Status } from '../../ts/binding/contract.js'
import { onBothBackends, refusal } from './backends.js'

const ABSENT = 0xffffffff

onBothBackends('id table', (binding) => {
  it('answers and refuses by status', () => {
    const b = binding()
    const table = b.idTableOpen(null, 0)
    expect(table).toBeGreaterThan(0)
    expect(b.idTableSet(table, 'k', 0)).toBe(0)
    expect(b.idTableSet(table, 'k', 0xfffffffe)).toBe(0)
    expect(b.idTableGetString(table, 'k')).toBe(0xfffffffe)
    expect(b.idTableGetBytes(table, new Uint8Array([0x6b]))).toBe(0xfffffffe)
    expect(b.idTableGetNumber(table, 0x6b)).toBe(Status.NoMatch)
    expect(b.idTableGetString(table, 'k\ud800')).toBe(Status.NoMatch)
    expect(b.idTableSet(table, 'k\ud800', 1)).toBe(Status.InvalidArgument)
    expect(refusal(b)).toEqual({ status: Status.InvalidArgument, field: 'key' })
    expect(b.idTableSet(table, 'k', ABSENT)).toBe(Status.LimitExceeded)
    expect(refusal(b)).toEqual({ status: Status.LimitExceeded, field: 'value', limit: 0xfffffffe })
    expect(b.idTableSet(table, '', 1)).toBe(Status.InvalidArgument)
    expect(refusal(b)).toEqual({ status: Status.InvalidArgument, field: 'key', limit: 1 })
    expect(b.idTableSet(table, 'x'.repeat(65_537), 1)).toBe(Status.LimitExceeded)
    expect(refusal(b)).toEqual({ status: Status.LimitExceeded, field: 'key', limit: 65_536 })
    expect(b.idTableOpen(null, 2 ** 28 + 1)).toBe(Status.LimitExceeded)
    expect(refusal(b)).toEqual({ status: Status.LimitExceeded, field: 'capacity', limit: 2 ** 28 })
    expect(b.idTableSize(table)).toBe(1)
    expect(b.idTableDelete(table, 'k')).toBe(1)
    expect(b.idTableDelete(table, 'k')).toBe(0)
    expect(b.idTableBytes(table)).toBeGreaterThanOrEqual(0)
    expect(b.tableClose(table)).toBe(0)
    expect(b.tableClose(table)).toBe(Status.StaleHandle)
    expect(b.idTableGetString(table, 'k')).toBe(Status.StaleHandle)
    expect(b.idTableSize(table)).toBe(Status.StaleHandle)
    expect(refusal(b)).toEqual({ status: Status.StaleHandle, field: 'table' })
  })

  it('grows through 100,000 keys of each kind and forgets what is deleted', () => {
    const b = binding()
    const table = b.idTableOpen(null, 0)
    const count = 100_000
    for (let i = 0; i < count; i++) {
      b.idTableSet(table, i, i)
      b.idTableSet(table, `key:${i}`, i + 1)
    }
    expect(b.idTableSize(table)).toBe(2 * count)
    for (let i = 0; i < count; i += 2) {
      b.idTableDelete(table, i)
      b.idTableDelete(table, `key:${i}`)
    }
    expect(b.idTableSize(table)).toBe(count)
    const keys = Uint32Array.from({ length: count }, (_, i) => i)
    const out = new Uint32Array(count)
    expect(b.idTableGetManyU32(table, keys, out)).toBe(count / 2)
    let wrong = 0
    for (let i = 0; i < count; i++) {
      if (out[i] !== (i % 2 === 0 ? ABSENT : i)) wrong++
      if (b.idTableGetString(table, `key:${i}`) !== (i % 2 === 0 ? -1 : i + 1)) wrong++
    }
    expect(wrong).toBe(0)
    b.tableClose(table)
  })

  it('refuses batches whose arrays do not fit or share memory', () => {
    const b = binding()
    const table = b.idTableOpen(null, 0)
    const shared = new Uint32Array(8)
    expect(b.idTableGetManyU32(table, shared.subarray(0, 4), shared.subarray(3, 8))).toBe(Status.InvalidArgument)
    expect(b.idTableGetManyU32(table, shared.subarray(0, 4), shared.subarray(4, 8))).toBe(0)
    expect(b.idTableGetManyU32(table, new Uint32Array(3), new Uint32Array(2))).toBe(Status.InvalidArgument)
    expect(b.idTableGetManyStrings(table, 'abc', new Uint32Array([2, 2]), new Uint32Array(2))).toBe(
      Status.InvalidArgument,
    )
    b.tableClose(table)
  })
})

onBothBackends('radix arena', (binding) => {
  it('writes spans in UTF-16 units, and none when they do not fit', () => {
    const b = binding()
    const arena = b.radixOpen(null)
    expect(b.radixInsert(arena, '/é/{name=日本/*}:go', 5, 0)).toBe(0)
    const spans = new Uint32Array(66)
    const path = '/é/日本/😀é:go'
    expect(b.radixMatch(arena, path, spans)).toBe(5)
    expect(spans[1]).toBe(1)
    expect(path.slice(spans[2], spans[3])).toBe('日本/😀é')
    expect(b.radixNames(arena, spans[0] as number)).toBe('["name"]')
    const short = new Uint32Array([9, 9, 9])
    expect(b.radixMatch(arena, path, short)).toBe(5)
    expect([...short]).toEqual([9, 9, 9])
    expect(b.radixNames(arena, 12_345)).toBe('')
    expect(b.radixSize(arena)).toBe(1)
    b.tableClose(arena)
  })

  it.each([
    ['/{a', Status.InvalidArgument, undefined],
    ['/:a/:a', Status.InvalidArgument, undefined],
    ['/a/**/b', Status.InvalidArgument, undefined],
    ['/\ud800', Status.InvalidArgument, undefined],
    ['/'.padEnd(4_097, 'a'), Status.LimitExceeded, 4_096],
    ['/a'.repeat(256), Status.LimitExceeded, 256],
    ['/*'.repeat(33), Status.LimitExceeded, 32],
  ])('refuses %j', (pattern, status, limit) => {
    const b = binding()
    const arena = b.radixOpen(null)
    expect(b.radixInsert(arena, pattern, 1, 0)).toBe(status)
    expect(refusal(b)).toEqual({ status, field: 'pattern', ...(limit === undefined ? {} : { limit }) })
    expect(b.radixSize(arena)).toBe(0)
    b.tableClose(arena)
  })
})

onBothBackends('ring', (binding) => {
  it('is bounded, keeps records whole, and refuses by status', () => {
    const b = binding()
    const ring = b.ringOpen(null, 1, 100)
    const record = new Uint8Array(28).fill(7)
    // Rounded up to 128 bytes: four records with their headers.
    for (let i = 0; i < 4; i++) expect(b.ringPush(ring, record)).toBe(0)
    expect(b.ringPush(ring, record)).toBe(Status.RingFull)
    expect(b.ringLength(ring)).toBe(4)
    expect(b.ringPush(ring, new Uint8Array(125))).toBe(Status.LimitExceeded)
    expect(b.ringPop(ring, new Uint8Array(27))).toBe(Status.LimitExceeded)
    const out = new Uint8Array(64)
    expect(b.ringPop(ring, out)).toBe(28)
    expect([...out.subarray(0, 28)]).toEqual([...record])
    expect(b.ringOpen(null, 2 as never, 64)).toBe(Status.InvalidArgument)
    expect(refusal(b)).toEqual({ status: Status.InvalidArgument, field: 'kind' })
    expect(b.ringOpen(null, 0, 63)).toBe(Status.InvalidArgument)
    expect(refusal(b)).toEqual({ status: Status.InvalidArgument, field: 'capacityBytes', limit: 64 })
    expect(b.ringOpen(null, 0, 2 ** 28 + 1)).toBe(Status.LimitExceeded)
    expect(refusal(b)).toEqual({ status: Status.LimitExceeded, field: 'capacityBytes', limit: 2 ** 28 })
    b.tableClose(ring)
    expect(b.ringPop(ring, out)).toBe(Status.StaleHandle)
    expect(b.ringLength(ring)).toBe(Status.StaleHandle)
    expect(refusal(b)).toEqual({ status: Status.StaleHandle, field: 'ring' })
  })
})

onBothBackends('tables by name', (binding) => {
  it('are one table for each who opens the name, and gone with the last', () => {
    const b = binding()
    const name = `conformance-${process.pid}`
    const first = b.idTableOpen(name, 1)
    const second = b.idTableOpen(name, 1)
    expect(first).not.toBe(second)
    b.idTableSet(first, 'k', 1)
    b.tableClose(first)
    expect(b.idTableGetString(second, 'k')).toBe(1)
    b.tableClose(second)
    const third = b.idTableOpen(name, 1)
    expect(b.idTableGetString(third, 'k')).toBe(Status.NoMatch)
    b.tableClose(third)
    const ring = b.ringOpen(name, 0, 64)
    expect(ring).toBeGreaterThan(0)
    expect(b.ringOpen(name, 1, 64)).toBe(Status.InvalidArgument)
    expect(refusal(b)).toEqual({ status: Status.InvalidArgument, field: 'kind' })
    b.tableClose(ring)
    expect(b.radixOpen('')).toBe(Status.InvalidArgument)
    expect(b.radixOpen('\udfff')).toBe(Status.InvalidArgument)
    expect(b.radixOpen('é'.repeat(129))).toBe(Status.LimitExceeded)
    expect(refusal(b)).toEqual({ status: Status.LimitExceeded, field: 'name', limit: 256 })
  })
})
