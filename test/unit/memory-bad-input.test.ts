/** What remote memory refuses, case by case: the code, the field, the bound, and that nothing was done. */
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Status } from '../../ts/binding/contract.js'
import {
  BULK_BYTES,
  Completion,
  CompletionFlag,
  INLINE_BYTES,
  MemoryOp,
  PAGE_BYTES,
  PAGE_RECORDS,
  Submission,
} from '../../ts/binding/contract-memory.js'
import type { NodeOptions } from '../../ts/binding/contract-node.js'
import { loadBinding } from '../../ts/binding/index.js'
import { errorOfRejection } from '../../ts/errors.js'
import { Mesh } from '../../ts/index.js'
import { OperationPage } from '../../ts/memory/page.js'
import type { RemoteRegion } from '../../ts/memory/remote-region.js'
import { NO_NATIVE } from '../support/native.js'

const BYTES = 4_096

describe.skipIf(NO_NATIVE !== '')(`bad input of remote memory${NO_NATIVE === '' ? '' : `: ${NO_NATIVE}`}`, () => {
  const data = mkdtempSync(join(tmpdir(), 'linkmesh-bad-input-'))
  const memory = new SharedArrayBuffer(BYTES)
  let exporter: Mesh
  let importer: Mesh
  let remote: RemoteRegion

  const open = (name: string, options: object): Promise<Mesh> =>
    Mesh.open({ name: `bad-input-${name}-${process.pid}`, data: join(data, name), ...options })

  /** What the shell gives the binding. */
  function nodeOptions(name: string, given: object): string {
    const options: NodeOptions = {
      listen: [],
      data: join(data, name),
      network: name,
      latencyMode: 'adaptive',
      name,
      sameHost: true,
      mtu: 1_452,
      engineThreads: 1,
      relay: null,
      nowMs: performance.now(),
    }
    return JSON.stringify({ ...options, join: [], ...given })
  }

  beforeAll(async () => {
    exporter = await open('exporter', { listen: 'quic://127.0.0.1:0' })
    const address = exporter.listening as string
    importer = await open('importer', { join: [{ address, token: await exporter.invite() }] })
    await exporter.memory.export('scores', memory)
    remote = await importer.memory.import(await exporter.memory.grant('scores', { to: importer.nodeId, rights: 'rwa' }))
  })
  afterAll(async () => {
    await importer?.close({ graceMs: 0 })
    await exporter?.close({ graceMs: 0 })
    rmSync(data, { recursive: true, force: true })
  })

  /** Refused on the spot: nothing was done, and the same again is refused again. */
  const never = { outcome: 'not-delivered', retryable: false }
  const bad = (code: string, field?: string, limit?: number) =>
    expect.objectContaining({ code, field, limit, ...never })

  it.each([
    ['beyond the end', 4_090, 8],
    ['from beyond the end', 5_000, 1],
    ['all, and one more', 0, BYTES + 1],
  ])('a range that lies outside: %s', async (_, offset, length) => {
    const refused = { code: 'LM_INVALID_ARGUMENT', limit: BYTES, ...never }
    await expect(remote.read(offset, length)).rejects.toMatchObject(refused)
    await expect(remote.write(offset, new Uint8Array(length))).rejects.toMatchObject(refused)
    expect(() => remote.readSync(offset, new Uint8Array(length))).toThrow(expect.objectContaining(refused))
  })

  it('a datagram size that no path has', async () => {
    for (const mtu of [1_199, 65_001, 1_452.5, Number.NaN, '1452'])
      await expect(open('mtu', { listen: 'quic://127.0.0.1:0', mtu })).rejects.toMatchObject({
        code: 'LM_INVALID_ARGUMENT',
        field: 'options.mtu',
      })
  })

  it('engine threads that a node cannot have', async () => {
    const listen = 'quic://127.0.0.1:0'
    const refused = (limit: number) => ({ code: 'LM_INVALID_ARGUMENT', field: 'options.engineThreads', limit })
    for (const [engineThreads, limit] of [
      [0, 1],
      [17, 16],
      [1.5, 16],
      ['2', 16],
    ] as const)
      await expect(open('threads', { listen, engineThreads })).rejects.toMatchObject(refused(limit))
    await expect(open('threads', { listen, engineThreads: 2, relay: true })).rejects.toMatchObject(refused(1))
    const join = { address: exporter.listening as string }
    await expect(open('threads', { join, engineThreads: 2 })).rejects.toMatchObject(refused(1))
  })

  it.each([
    [{ sessions: 0 }, 'options.relay.sessions'],
    [{ bytesPerSecond: 65_535 }, 'options.relay.bytesPerSecond'],
    [{ packetsPerSecond: 2 ** 32 }, 'options.relay.packetsPerSecond'],
    [{ packets: 1 }, 'options.relay.packets'],
    ['yes', 'options.relay'],
  ])('a relay of %j', async (relay, field) => {
    const options = { listen: 'quic://127.0.0.1:0', relay: relay as never }
    await expect(open('relay', options)).rejects.toMatchObject({ code: 'LM_INVALID_ARGUMENT', field })
  })

  it('an offset that is none', async () => {
    for (const offset of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, '0', undefined]) {
      await expect(remote.read(offset as number, 8)).rejects.toEqual(bad('LM_INVALID_ARGUMENT', 'offset', 0))
      await expect(remote.fetchAdd(offset as number, 1n)).rejects.toEqual(bad('LM_INVALID_ARGUMENT', 'offset', 0))
    }
  })

  it('an atomic that is not aligned', async () => {
    for (const offset of [1, 4, 4_095]) {
      await expect(remote.fetchAdd(offset, 1n)).rejects.toEqual(bad('LM_INVALID_ARGUMENT', 'offset', 8))
      await expect(remote.compareAndSwap(offset, 0n, 1n)).rejects.toEqual(bad('LM_INVALID_ARGUMENT', 'offset', 8))
      expect(() => remote.casSync(offset, 0n, 1n)).toThrow(bad('LM_INVALID_ARGUMENT', 'offset', 8))
      expect(() => remote.batch().fetchAdd(offset, 1n)).toThrow(bad('LM_INVALID_ARGUMENT', 'offset', 8))
    }
  })

  it('an atomic of a slice that begins between two words', async () => {
    const slice = await importer.memory.import(
      await exporter.memory.grant('scores', { to: importer.nodeId, rights: 'ra', offset: 4, length: 64 }),
    )
    await expect(slice.fetchAdd(8, 1n)).rejects.toMatchObject({
      code: 'LM_INVALID_ARGUMENT',
      field: 'offset',
      limit: 8,
      ...never,
    })
    expect(await slice.read(8, 8)).toEqual(new Uint8Array(8))
  })

  it('operands that are none', async () => {
    for (const operand of [1, '1', undefined, null])
      await expect(remote.fetchAdd(0, operand as never)).rejects.toEqual(bad('LM_INVALID_ARGUMENT', 'operand'))
    for (const operand of [1n << 64n, -(1n << 63n) - 1n])
      await expect(remote.compareAndSwap(0, operand, 1n)).rejects.toEqual(bad('LM_INVALID_ARGUMENT', 'expected', 64))
    expect(Atomics.load(new BigUint64Array(memory), 0)).toBe(0n)
  })

  it('no bytes, and too many', async () => {
    await expect(remote.read(0, 0)).rejects.toEqual(bad('LM_INVALID_ARGUMENT', 'length', 1))
    await expect(remote.write(0, new Uint8Array(0))).rejects.toEqual(bad('LM_INVALID_ARGUMENT', 'bytes', 1))
    await expect(remote.read(0, 2 ** 41)).rejects.toEqual(bad('LM_LIMIT_EXCEEDED', 'length', 2 ** 40))
    expect(() => remote.readSync(0, new Uint8Array(INLINE_BYTES + 1))).toThrow(
      bad('LM_LIMIT_EXCEEDED', 'target', INLINE_BYTES),
    )
    expect(() => remote.batch().read(0, INLINE_BYTES + 1)).toThrow(bad('LM_LIMIT_EXCEEDED', 'length', INLINE_BYTES))
    expect(() => remote.batch().write(0, new Uint8Array(INLINE_BYTES + 1))).toThrow(
      bad('LM_LIMIT_EXCEEDED', 'bytes', INLINE_BYTES),
    )
    await expect(remote.readVersioned(0, INLINE_BYTES + 1, { version: 0 })).rejects.toEqual(
      bad('LM_LIMIT_EXCEEDED', 'length', INLINE_BYTES),
    )
  })

  it('the target of a batch that is gone when the answer comes', async () => {
    const batch = remote.batch()
    const target = new Uint8Array(64)
    batch.read(0, 64, target)
    batch.read(64, 8)
    const flushed = batch.flush()
    structuredClone(target.buffer, { transfer: [target.buffer] })
    const error = await flushed.catch((cause) => cause)
    expect(error).toMatchObject({ code: 'LM_INVALID_ARGUMENT', field: 'target', outcome: 'delivered' })
    expect(error.results.bytes(1)).toHaveLength(8)
  })

  it('a transfer of 16 MiB and one byte: two transfers, each within the limit', async () => {
    const bytes = BULK_BYTES + 1
    const region = await exporter.memory.export('long', new SharedArrayBuffer(bytes))
    const grant = await exporter.memory.grant(region, { to: importer.nodeId, rights: 'rw' })
    const long = await importer.memory.import(grant, { operationTimeoutMs: 30_000 })
    await long.write(0, new Uint8Array(bytes).fill(7))
    expect(region.memory.at(-1)).toBe(7)
    const read = await long.read(0, bytes)
    expect(read.length).toBe(bytes)
    expect(read.at(-1)).toBe(7)
    await expect(long.read(1, bytes)).rejects.toMatchObject({ code: 'LM_INVALID_ARGUMENT', limit: bytes })
    long.close()
    region.revoke()
  })

  it('memory that was transferred away', async () => {
    const detached = new Uint8Array(64)
    structuredClone(detached.buffer, { transfer: [detached.buffer] })
    await expect(remote.write(0, detached)).rejects.toEqual(bad('LM_INVALID_ARGUMENT', 'bytes'))
    await expect(remote.read(0, 8, detached)).rejects.toEqual(bad('LM_INVALID_ARGUMENT', 'target'))
    expect(() => remote.readSync(0, detached)).toThrow(bad('LM_INVALID_ARGUMENT', 'target'))
    await expect(exporter.memory.export('detached', detached.buffer)).rejects.toEqual(
      bad('LM_INVALID_ARGUMENT', 'memory'),
    )
  })

  it('a target that is transferred away while it is awaited: an error, and everything goes on', async () => {
    const region = await exporter.memory.export('away', new SharedArrayBuffer(1 << 20))
    const away = await importer.memory.import(
      await exporter.memory.grant(region, { to: importer.nodeId, rights: 'rw' }),
    )
    for (const length of [8, 1_000, 1 << 20]) {
      const target = new Uint8Array(length)
      const read = away.read(0, length, target).then(
        () => 'read',
        (error) => error.code,
      )
      structuredClone(target.buffer, { transfer: [target.buffer] })
      await read
      expect(target.length).toBe(0)
    }
    expect(await away.read(0, 8)).toEqual(new Uint8Array(8))
    region.revoke()
  })

  it('a target that is too small, or none', async () => {
    await expect(remote.read(0, 64, new Uint8Array(63))).rejects.toEqual(bad('LM_INVALID_ARGUMENT', 'target', 64))
    for (const target of ['', 64, {}, [1, 2]])
      await expect(remote.read(0, 64, target as never)).rejects.toEqual(bad('LM_INVALID_ARGUMENT', 'target'))
    for (const bytes of ['', 64, {}, undefined])
      await expect(remote.write(0, bytes as never)).rejects.toEqual(bad('LM_INVALID_ARGUMENT', 'bytes'))
  })

  it('a deadline that has passed, and one that is none', async () => {
    for (const timeoutMs of [-1, Number.NaN, '5'])
      await expect(remote.read(0, 8, undefined, { timeoutMs: timeoutMs as number })).rejects.toEqual(
        expect.objectContaining({ code: 'LM_INVALID_ARGUMENT', field: 'options.timeoutMs' }),
      )
    for (const timeoutMs of [0, -1, 10_001, Number.NaN])
      expect(() => remote.readSync(0, new Uint8Array(8), { timeoutMs })).toThrow(
        bad('LM_INVALID_ARGUMENT', 'options.timeoutMs', 10_000),
      )
    // Over before it can have left.
    await expect(remote.fetchAdd(8, 1n, { timeoutMs: 0.000_001 })).rejects.toMatchObject({
      code: 'LM_DEADLINE_EXCEEDED',
      ...never,
    })
    await remote.fence()
    expect(Atomics.load(new BigUint64Array(memory), 1)).toBe(0n)
  })

  it('a signal that has fired', async () => {
    const cause = new Error('not wanted')
    await expect(remote.fetchAdd(8, 1n, { signal: AbortSignal.abort(cause) })).rejects.toMatchObject({
      code: 'LM_CANCELLED',
      cause,
    })
    expect(Atomics.load(new BigUint64Array(memory), 1)).toBe(0n)
  })

  it('a region that is revoked before, and in the middle of a transfer', async () => {
    const region = await exporter.memory.export('brief', new SharedArrayBuffer(BULK_BYTES))
    const grant = await exporter.memory.grant(region, { to: importer.nodeId, rights: 'rw' })
    const brief = await importer.memory.import(grant)
    const write = brief.write(0, new Uint8Array(BULK_BYTES).fill(1), { onProgress: () => region.revoke() })
    const error = await write.catch((cause) => cause)
    const written = region.memory.includes(1)
    expect(error).toMatchObject({
      code: 'LM_REVOKED',
      retryable: false,
      outcome: written ? 'unknown' : 'not-delivered',
    })
    await expect(brief.read(0, 8)).rejects.toMatchObject({ code: 'LM_REVOKED', ...never })
    await expect(importer.memory.import(grant)).rejects.toMatchObject({ code: 'LM_NOT_FOUND', field: 'grant' })
  })

  it('a write in pieces that ends behind the first: it does not claim that nothing was done', async () => {
    const bytes = 2 * BULK_BYTES
    const region = await exporter.memory.export('pieces', new SharedArrayBuffer(bytes))
    const grant = await exporter.memory.grant(region, { to: importer.nodeId, rights: 'rw' })
    const pieces = await importer.memory.import(grant)
    const onProgress = (done: number) => done > BULK_BYTES && region.revoke()
    const error = await pieces.write(0, new Uint8Array(bytes).fill(1), { onProgress }).catch((cause) => cause)
    expect(error).toMatchObject({ code: 'LM_REVOKED', retryable: false, outcome: 'unknown' })
    expect(error.message).toContain(`the first ${BULK_BYTES} of ${bytes} bytes are written`)
    expect(region.memory[BULK_BYTES - 1]).toBe(1)
  })

  it('a grant that is none, or not for this node', async () => {
    for (const grant of ['', 'lmg_', 'scores', 'x'.repeat(300_000)])
      await expect(importer.memory.import(grant)).rejects.toMatchObject({ code: 'LM_INVALID_ARGUMENT', field: 'grant' })
    for (const grant of [undefined, 1, {}])
      await expect(importer.memory.import(grant as never)).rejects.toEqual(bad('LM_INVALID_ARGUMENT', 'grant'))
    const foreign = await exporter.memory.grant('scores', { to: 'ab'.repeat(32), rights: 'r' })
    await expect(importer.memory.import(foreign)).rejects.toMatchObject({ code: 'LM_DENIED', field: 'grant' })
  })

  it('a grant of a node that is not there', async () => {
    const stranger = await open('stranger', { listen: 'quic://127.0.0.1:0' })
    await stranger.memory.export('far', new SharedArrayBuffer(64))
    const grant = await stranger.memory.grant('far', { to: importer.nodeId, rights: 'r' })
    await stranger.close({ graceMs: 0 })
    await expect(importer.memory.import(grant, { timeoutMs: 50 })).rejects.toMatchObject({
      code: 'LM_DEADLINE_EXCEEDED',
      field: 'grant',
      outcome: 'not-delivered',
      retryable: true,
    })
  })

  it.each([
    'quic://',
    'quic://127.0.0.1',
    'http://127.0.0.1:7443',
    '127.0.0.1:7443',
    'quic://127.0.0.1:99999',
    'quic://no such host:1',
  ])('an address that is none: %s', async (listen) => {
    await expect(open('malformed', { listen })).rejects.toMatchObject({
      code: 'LM_INVALID_ARGUMENT',
      field: expect.stringMatching(/^options\.listen/),
      ...never,
    })
    const join = [{ address: listen }]
    await expect(open('malformed', { join })).rejects.toMatchObject({
      code: 'LM_INVALID_ARGUMENT',
      field: expect.stringMatching(/^options\.join/),
      ...never,
    })
  })

  it('a port that is taken', async () => {
    await expect(open('taken', { listen: exporter.listening })).rejects.toMatchObject({
      code: 'LM_ADDRESS_UNAVAILABLE',
      field: 'options.listen',
      ...never,
    })
  })

  it('a place where packets go and nothing comes back, as where no UDP is allowed', async () => {
    const silent = createSocket('udp4').bind(0, '127.0.0.1')
    await once(silent, 'listening')
    const address = `quic://127.0.0.1:${silent.address().port}`
    const { binding } = loadBinding()
    const mesh = binding.meshOpen(JSON.stringify({ name: `bad-input-silent-${process.pid}` }))
    await binding.nodeOpen(mesh, nodeOptions('silent', { listen: ['quic://127.0.0.1:0'] }))
    const cause = await binding.nodeConnect(mesh, JSON.stringify({ address, timeoutMs: 300 })).catch((error) => error)
    const error = errorOfRejection(cause, 'the node')
    expect(error).toMatchObject({
      code: 'LM_DEADLINE_EXCEEDED',
      field: 'address',
      outcome: 'not-delivered',
      retryable: true,
    })
    expect(error.message).toContain('UDP')
    binding.meshClose(mesh)
    silent.close()
  })

  it('a mesh that is no node', async () => {
    const alone = await Mesh.open({ name: `bad-input-alone-${process.pid}` })
    await expect(alone.memory.export('own', { bytes: 64 })).rejects.toEqual(bad('LM_INVALID_ARGUMENT', 'options'))
    await expect(alone.memory.import('lmg_x')).rejects.toEqual(bad('LM_INVALID_ARGUMENT', 'options'))
    await alone.close()
  })

  describe('at the boundary, below the checks of the shell', () => {
    const { binding } = loadBinding()
    let mesh: number
    let handle: number
    let page: OperationPage

    beforeAll(async () => {
      mesh = binding.meshOpen(JSON.stringify({ name: `bad-input-boundary-${process.pid}` }))
      const target = { address: exporter.listening, token: await exporter.invite(), timeoutMs: 10_000 }
      await binding.nodeOpen(mesh, nodeOptions('boundary', { join: [target] }))
      await binding.nodeConnect(mesh, JSON.stringify(target))
      const { nodeId } = JSON.parse(binding.nodeInfo(mesh))
      const grant = await exporter.memory.grant('scores', { to: nodeId, rights: 'rw' })
      handle = JSON.parse(await binding.remoteImport(mesh, grant, 10_000)).handle
      page = new OperationPage(binding.memoryPage(mesh) as ArrayBuffer)
    })
    afterAll(() => {
      binding.meshClose(mesh)
    })

    const lastError = () => JSON.parse(binding.lastError())

    /** Flushes one record of these words and answers its completion. */
    function flushed(words: Record<number, number>): { status: number; id: number } {
      const at = page.submission(0) >>> 2
      page.u32.fill(0, at, at + 16)
      for (const [word, value] of Object.entries(words)) page.u32[at + Number(word)] = value
      expect(binding.memoryFlush(mesh, 1, 0)).toBe(1)
      const record = page.completion(0) >>> 2
      return {
        status: (page.u32[record + Completion.Status] as number) | 0,
        id: page.u32[record + Completion.Id] as number,
      }
    }

    it('a page where there is no node, and one of the right length', () => {
      const alone = binding.meshOpen(JSON.stringify({ name: `bad-input-pageless-${process.pid}` }))
      expect(binding.memoryPage(alone)).toBeNull()
      expect(lastError()).toMatchObject({ status: Status.Closed, field: 'mesh' })
      expect(binding.memoryFlush(alone, 1, 0)).toBe(Status.Closed)
      binding.meshClose(alone)
      expect(page.bytes.length).toBe(PAGE_BYTES)
    })

    it('records that make no sense', () => {
      const invalid = { status: Status.InvalidArgument, id: 7 }
      expect(flushed({ [Submission.Op]: 99, [Submission.Id]: 7, [Submission.Remote]: handle })).toEqual(invalid)
      const write = { [Submission.Op]: MemoryOp.Write, [Submission.Id]: 7, [Submission.Remote]: handle }
      expect(flushed({ ...write, [Submission.Length]: 8, [Submission.Data]: 0xffff_fffc })).toEqual(invalid)
      expect(flushed({ ...write, [Submission.Length]: 0xffff_ffff })).toEqual(invalid)
      // The high half of an offset that is not a number.
      expect(flushed({ ...write, [Submission.OffsetF64 * 2 + 1]: 0x7ff8_0000 })).toEqual(invalid)
      const stale = { ...write, [Submission.Remote]: 12_345, [Submission.Length]: 1 }
      expect(flushed(stale)).toEqual({ status: Status.StaleHandle, id: 7 })
      // More records than there are: those that there are.
      expect(binding.memoryFlush(mesh, 0xffff_ffff, 0)).toBe(PAGE_RECORDS)
      expect(binding.memoryCancel(mesh, 7)).toBe(Status.NoMatch)
    })

    it('synchronous calls', () => {
      const target = new Uint8Array(8)
      expect(binding.memoryReadSync(mesh, 12_345, 0, target, 100)).toBe(Status.StaleHandle)
      expect(binding.memoryReadSync(mesh, handle, Number.NaN, target, 100)).toBe(Status.InvalidArgument)
      expect(binding.memoryReadSync(mesh, handle, 0, 'target' as never, 100)).toBe(Status.InvalidArgument)
      expect(binding.memoryReadSync(mesh, handle, 4_090, target, 100)).toBe(Status.InvalidArgument)
      expect(lastError()).toMatchObject({ field: 'offset', limit: BYTES, outcome: 'not-delivered', retryable: false })
      expect(binding.memoryReadSync(mesh, handle, 0, new Uint8Array(0), 100)).toBe(Status.InvalidArgument)
      expect(lastError()).toMatchObject({ field: 'length', limit: 1 })
      expect(binding.memoryReadSync(mesh, handle, 0, new Uint8Array(INLINE_BYTES + 1), 100)).toBe(Status.LimitExceeded)
      expect(lastError()).toMatchObject({ field: 'length', limit: INLINE_BYTES })
      expect(binding.memoryCasSync(mesh, handle, 0, 100)).toBe(Status.Denied)
      expect(lastError()).toMatchObject({ field: 'rights' })
      // Without waiting: this memory is not mapped here.
      expect(binding.memoryReadSync(mesh, handle, 0, target, 0)).toBe(Status.NoMatch)
      expect(binding.memoryAddSync(mesh, handle, 0, 0)).toBe(Status.NoMatch)
      expect(binding.memoryReadSync(mesh, handle, 0, target, 1_000)).toBe(8)
    })

    it('bulk transfers', async () => {
      expect(binding.memoryBulkRead(mesh, 9, handle, 0, BULK_BYTES + 1, 1_000)).toBe(Status.LimitExceeded)
      expect(lastError()).toMatchObject({ field: 'length', limit: BULK_BYTES })
      expect(binding.memoryBulkRead(mesh, 9, handle, 0, 0, 1_000)).toBe(Status.InvalidArgument)
      expect(binding.memoryBulkRead(mesh, 9, handle, 0.5, 8, 1_000)).toBe(Status.InvalidArgument)
      expect(binding.memoryBulkRead(mesh, 9, handle, 8, BYTES, 1_000)).toBe(Status.InvalidArgument)
      expect(lastError()).toMatchObject({ field: 'offset', limit: BYTES })
      expect(binding.memoryBulkRead(mesh, 9, 12_345, 0, 8, 1_000)).toBe(Status.StaleHandle)
      expect(binding.memoryBulkWrite(mesh, 9, handle, 0, new Uint8Array(BULK_BYTES + 1), 1_000)).toBe(
        Status.LimitExceeded,
      )
      expect(binding.memoryTake(mesh, 9, new Uint8Array(8))).toBe(Status.StaleHandle)

      expect(binding.memoryBulkRead(mesh, 9, handle, 0, BYTES, 10_000)).toBe(0)
      const ends: number[] = []
      while (ends.length === 0) {
        const completed = binding.memoryFlush(mesh, 0, 30)
        for (let index = 0; index < completed; index++) {
          const record = page.completion(index) >>> 2
          const isProgress = ((page.u32[record + Completion.Flags] as number) & CompletionFlag.Progress) !== 0
          if (!isProgress) ends.push(page.u32[record + Completion.Status] as number)
        }
        await new Promise(setImmediate)
      }
      expect(ends).toEqual([0])
      expect(binding.memoryTake(mesh, 9, new Uint8Array(BYTES - 1))).toBe(Status.LimitExceeded)
      expect(lastError()).toMatchObject({ field: 'length', limit: BYTES - 1 })
      expect(binding.memoryTake(mesh, 9, new Uint8Array(BYTES))).toBe(BYTES)
      expect(binding.memoryTake(mesh, 9, new Uint8Array(BYTES))).toBe(Status.StaleHandle)
    })

    it('handles that are closed', () => {
      expect(binding.remoteInfo(mesh, 12_345)).toBe('')
      expect(binding.remoteClose(mesh, 12_345)).toBe(Status.StaleHandle)
      expect(binding.remoteClose(mesh, handle)).toBe(0)
      expect(binding.remoteClose(mesh, handle)).toBe(Status.StaleHandle)
      expect(binding.memoryReadSync(mesh, handle, 0, new Uint8Array(8), 100)).toBe(Status.StaleHandle)
    })
  })

  it('still does what is right', async () => {
    expect(await remote.fetchAdd(16, 5n)).toBe(0n)
    expect(Atomics.load(new BigUint64Array(memory), 2)).toBe(5n)
  })
})
