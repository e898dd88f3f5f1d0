/** Regions and grants of one node, before anybody uses them: what they are made of, what they say, what they refuse. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Mesh } from '../../ts/index.js'
import { NO_NATIVE } from '../support/native.js'

const TO = 'ab'.repeat(32)

describe.skipIf(NO_NATIVE !== '')(`regions${NO_NATIVE === '' ? '' : `: ${NO_NATIVE}`}`, () => {
  const data = mkdtempSync(join(tmpdir(), 'linkmesh-regions-'))
  let mesh: Mesh
  beforeAll(async () => {
    mesh = await Mesh.open({ name: `regions-${process.pid}`, listen: 'quic://127.0.0.1:0', data })
  })
  afterAll(async () => {
    await mesh?.close({ graceMs: 0 })
    rmSync(data, { recursive: true, force: true })
  })

  it('lie in memory that JavaScript brought along', async () => {
    const memory = new SharedArrayBuffer(1_000)
    const region = await mesh.memory.export('brought', memory, { rights: 'ra' })
    expect(region.info()).toMatchObject({
      name: 'brought',
      length: 1_000,
      maxLength: 1_000,
      rights: 'ra',
      kind: 'borrowed',
    })
    expect(region.memory.buffer).toBe(memory)
    region.revoke()
    expect(() => region.info()).toThrow(expect.objectContaining({ code: 'LM_STALE_HANDLE' }))
    const again = await mesh.memory.export('brought', memory)
    expect(again.info().rights).toBe('rwa')
    again.revoke()
  })

  it('lie in memory of their own, which is zero, shared where that can be, and stays as it was written', async () => {
    const region = await mesh.memory.export('own', { bytes: 100_000 })
    expect(region.info()).toMatchObject({
      length: 100_000,
      maxLength: 100_000,
      kind: process.platform === 'linux' ? 'shared' : 'pages',
      revoked: false,
    })
    expect(region.memory.every((byte) => byte === 0)).toBe(true)
    region.memory[99_999] = 7
    expect(region.memory[99_999]).toBe(7)
    expect(() => region.grow(200_000)).toThrow(expect.objectContaining({ code: 'LM_INVALID_ARGUMENT', field: 'bytes' }))
    region.revoke()
  })

  it('grow in place up to their bound', async () => {
    const region = await mesh.memory.export('growing', { bytes: 4_096, maxBytes: 1 << 20 })
    region.memory[0] = 1
    region.grow(1 << 20)
    expect(region.length).toBe(1 << 20)
    expect(region.memory).toHaveLength(1 << 20)
    expect(region.memory[0]).toBe(1)
    expect(() => region.grow((1 << 20) + 1)).toThrow(expect.objectContaining({ code: 'LM_LIMIT_EXCEEDED' }))
    expect(() => region.grow(4_096)).toThrow(expect.objectContaining({ code: 'LM_INVALID_ARGUMENT' }))
    region.revoke()
  })

  it('lie in a file', async () => {
    const file = join(data, 'scores')
    const region = await mesh.memory.export('file', { bytes: 5_000, file })
    expect(region.info().kind).toBe('file')
    region.memory.set(Buffer.from('to the disk'), 4_000)
    await region.sync()
    expect(readFileSync(file).subarray(4_000, 4_011).toString()).toBe('to the disk')
    region.revoke()
  })

  it('have names of their own, and refuse what they cannot be', async () => {
    const region = await mesh.memory.export('one', { bytes: 64 })
    await expect(mesh.memory.export('one', { bytes: 64 })).rejects.toMatchObject({
      code: 'LM_DUPLICATE',
      field: 'name',
    })
    await expect(mesh.memory.export('none', { bytes: 64, file: join(data, 'no', 'such') })).rejects.toMatchObject({
      code: 'LM_IO',
    })
    await expect(mesh.memory.export('packed', { bytes: 64 }, { compression: 'gzip' } as never)).rejects.toMatchObject({
      code: 'LM_INVALID_ARGUMENT',
      field: 'options.compression',
    })
    region.revoke()
  })

  it('are granted in text that says what it is for', async () => {
    const region = await mesh.memory.export('granted', { bytes: 4_096 })
    const before = Date.now()
    const grant = await mesh.memory.grant(region, { to: TO, offset: 64, rights: 'ra', ttlMs: 60_000 })
    expect(grant).toMatch(/^lmg_[\w-]+$/)
    const told = mesh.memory.describe(grant)
    expect(told).toMatchObject({
      region: 'granted',
      from: mesh.nodeId,
      to: TO,
      offset: 64,
      length: 4_032,
      rights: 'ra',
      depth: 0,
    })
    expect(told.expiresAtMs - before).toBeGreaterThanOrEqual(60_000)
    const other = await mesh.memory.grant(region, { to: TO, rights: 'r' })
    expect(other).not.toBe(grant)
    mesh.memory.revoke(grant)
    region.revoke()
  })

  it('are granted no further than they reach, by those whom it was given to', async () => {
    const region = await mesh.memory.export('narrow', { bytes: 4_096 }, { rights: 'r' })
    const ask = (options: object) => mesh.memory.grant('narrow', { to: TO, rights: 'r', ...options } as never)
    await expect(ask({ offset: 4_000, length: 97 })).rejects.toMatchObject({ code: 'LM_LIMIT_EXCEEDED', limit: 4_096 })
    await expect(ask({ rights: 'rw' })).rejects.toMatchObject({ code: 'LM_DENIED' })
    await expect(mesh.memory.grant('nobody', { to: TO, rights: 'r' })).rejects.toMatchObject({ code: 'LM_NOT_FOUND' })
    const grant = await ask({})
    const pass = (options: object) => mesh.memory.delegate(grant, { to: TO, rights: 'r', ...options } as never)
    await expect(pass({})).rejects.toMatchObject({ code: 'LM_DENIED' })
    const mine = await mesh.memory.grant('narrow', { to: mesh.nodeId, rights: 'r', ttlMs: 60_000 })
    const passed = await mesh.memory.delegate(mine, { to: TO, rights: 'r', offset: 8, length: 8, ttlMs: 1_000 })
    expect(mesh.memory.describe(passed)).toMatchObject({ to: TO, offset: 8, length: 8, depth: 1 })
    expect(() => mesh.memory.describe(`${grant.slice(0, -3)}AAA`)).toThrow(
      expect.objectContaining({ code: 'LM_INVALID_ARGUMENT' }),
    )
    region.revoke()
  })
})
