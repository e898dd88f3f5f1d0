/** Replicated regions over processes: three hold one, this one uses it, and those that lead are killed. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type LinkmeshError, Mesh, type RemoteRegion } from '../../ts/index.js'
import { NO_NATIVE } from '../support/native.js'
import { founder, type Node, NodeProcess } from '../support/node.js'

const NAME = 'ledger'
const ADDS = 400

/** What an operation ended with: its value, or how the error speaks of it. */
async function ending<T>(work: Promise<T>) {
  return work.then(
    (value) => ({ value }),
    ({ code, outcome, retryable, field, limit }: LinkmeshError) => ({ code, outcome, retryable, field, limit }),
  )
}

describe.skipIf(NO_NATIVE !== '')(`replicated regions${NO_NATIVE === '' ? '' : `: ${NO_NATIVE}`}`, () => {
  const holders: Node[] = []
  const data = mkdtempSync(join(tmpdir(), 'linkmesh-replicas-'))
  let mesh: Mesh
  let members: string[]
  let remote: RemoteRegion

  const holder = (nodeId: string) => holders.find(({ info }) => info.nodeId === nodeId) as Node

  /** The nodes so far, to be joined; the first one invites. */
  async function reached(): Promise<{ address: string; token?: string }[]> {
    const { token } = await (holders[0] as Node).node.ask('invite')
    return holders.map(({ info }, at) => ({ address: info.listening, ...(at === 0 && { token }) }))
  }

  /** How the members stand, as far as they live. */
  async function standings(living: string[]) {
    const infos = await Promise.all(
      living.map((member) => holder(member).node.ask('replica', { creator: members[0], name: NAME })),
    )
    return new Map(living.map((member, at) => [member, infos[at].info]))
  }

  beforeAll(async () => {
    holders.push(await founder())
    while (holders.length < 3) {
      const node = new NodeProcess()
      const options = { name: 'nodes', listen: 'quic://127.0.0.1:0', join: await reached(), data: node.data }
      holders.push({ node, info: await node.ask('open', { options }) })
    }
    mesh = await Mesh.open({ name: `replicas-${process.pid}`, join: await reached(), data })
    members = holders.map(({ info }) => info.nodeId)
  })
  afterAll(async () => {
    await mesh?.close({ graceMs: 0 })
    await Promise.all(holders.map(({ node }) => node.end('SIGKILL')))
    rmSync(data, { recursive: true, force: true })
  })

  it('is made once all who shall hold it have agreed to', async () => {
    const { node } = holder(members[0] as string)
    const request = {
      name: NAME,
      bytes: 4_096,
      options: { rights: 'rwa', replicas: { backups: members.slice(1), acknowledgements: 1 } },
    }
    // Nobody keeps what he did not agree to keep.
    expect((await node.ask('replicate', request)).error).toMatchObject({ code: 'LM_DENIED', retryable: true })
    for (const member of members.slice(1)) await holder(member).node.ask('acceptReplicas', { bytes: 1 << 20 })
    const made = await node.ask('replicate', request)
    expect(made).toMatchObject({ members, info: { standing: 'primary', reachable: 2 } })
    expect((await node.ask('replicate', request)).error).toMatchObject({ code: 'LM_DUPLICATE' })
    expect((await node.ask('export', { name: NAME, bytes: 64 })).error).toMatchObject({ code: 'LM_DUPLICATE' })
  })

  it('is read and written like any region, by its grant', async () => {
    const { node } = holder(members[0] as string)
    const { grant } = await node.ask('grant', { name: NAME, options: { to: mesh.nodeId, rights: 'rwa' } })
    remote = await mesh.memory.import(grant, { members, operationTimeoutMs: 15_000 })
    expect(remote.length).toBe(4_096)
    await remote.write(64, new TextEncoder().encode('kept'))
    expect(await remote.compareAndSwap(128, 0n, 5n)).toBe(0n)
    expect(await remote.compareAndSwap(128, 0n, 6n)).toBe(5n)
    expect(new TextDecoder().decode(await remote.read(64, 4))).toBe('kept')

    const narrow = await node.ask('grant', { name: NAME, options: { to: mesh.nodeId, rights: 'r', length: 8 } })
    const reader = await mesh.memory.import(narrow.grant, { members: [] })
    expect(await ending(reader.fetchAdd(0, 1n))).toMatchObject({ code: 'LM_DENIED', outcome: 'not-delivered' })
    expect(await reader.read(0, 8)).toEqual(new Uint8Array(8))
    reader.close()
  })

  it('refuses what a replicated region cannot do', async () => {
    const bulk = { code: 'LM_INVALID_ARGUMENT', field: 'remote', outcome: 'not-delivered', retryable: false }
    const { node } = holder(members[0] as string)
    await node.ask('replicate', {
      name: 'long',
      bytes: 1 << 17,
      options: { rights: 'r', replicas: { backups: members.slice(1) } },
    })
    const wider = await node.ask('grant', { name: 'long', options: { to: mesh.nodeId, rights: 'rw' } })
    expect(wider.error).toMatchObject({ code: 'LM_DENIED' })
    const { grant } = await node.ask('grant', { name: 'long', options: { to: mesh.nodeId, rights: 'r' } })
    const long = await mesh.memory.import(grant, { members })
    expect(await ending(long.readVersioned(0, 8, { version: 8 }))).toMatchObject(bulk)
    expect((await node.ask('revoke', { grant })).error).toMatchObject({ code: 'LM_NOT_FOUND' })
    long.close()
  })

  it('is read and written in pieces where one operation does not hold it', async () => {
    const { node } = holder(members[0] as string)
    const bytes = 3 * (1 << 16) + 24
    const replicas = { backups: members.slice(1) }
    await node.ask('replicate', { name: 'pieces', bytes, options: { rights: 'rw', replicas } })
    const { grant } = await node.ask('grant', { name: 'pieces', options: { to: mesh.nodeId, rights: 'rw' } })
    const pieces = await mesh.memory.import(grant, { members, operationTimeoutMs: 15_000 })
    const sent = Uint8Array.from({ length: bytes - 8 }, (_, at) => (at * 31) >>> 3)
    const progress: number[] = []
    const body = sent.slice()
    const written = pieces.write(8, body, { onProgress: (done, total) => progress.push(done, total) })
    body.fill(0)
    await written
    const [whole, total] = [1 << 16, bytes - 8]
    expect(progress).toEqual([whole, total, 2 * whole, total, 3 * whole, total, total, total])
    const target = new Uint8Array(bytes)
    expect(await pieces.read(0, bytes, target)).toBe(target)
    expect(Buffer.compare(target.subarray(8), sent)).toBe(0)
    const beyond = { code: 'LM_INVALID_ARGUMENT', field: 'length', limit: bytes }
    expect(await ending(pieces.read(8, bytes))).toMatchObject(beyond)

    // Ended in the middle of a long write: how far it came is said, and that it did not leave things as they were.
    let isBegun = (): void => {}
    const begun = new Promise<void>((resolve) => (isBegun = resolve))
    const cut = ending(pieces.write(8, sent, { onProgress: () => isBegun() }))
    await begun
    await node.ask('endReplicas', { name: 'pieces' })
    const result = await cut
    if (!('value' in result)) expect(result).toMatchObject({ code: 'LM_REVOKED', outcome: 'unknown' })
    expect(await ending(pieces.read(0, 8))).toMatchObject({ code: 'LM_REVOKED', outcome: 'not-delivered' })
    pieces.close()
  })

  it('is ended by whoever made it, everywhere', async () => {
    const { node } = holder(members[0] as string)
    const request = { name: 'brief', bytes: 700_000, options: { replicas: { backups: members.slice(1) } } }
    // The backups accept a mebibyte: a second one is possible only when the first is gone.
    for (let turn = 0; turn < 3; turn++) {
      await node.ask('replicate', request)
      const { grant } = await node.ask('grant', { name: 'brief', options: { to: mesh.nodeId, rights: 'rwa' } })
      const brief = await mesh.memory.import(grant, { members })
      expect(await brief.fetchAdd(0, 1n)).toBe(0n)
      await node.ask('endReplicas', { name: 'brief' })
      const revoked = { code: 'LM_REVOKED', outcome: 'not-delivered', retryable: false }
      for (const work of [brief.fetchAdd(0, 1n), brief.read(0, 8), brief.write(0, new Uint8Array(8)), brief.fence()])
        expect(await ending<unknown>(work)).toMatchObject(revoked)
      expect(await ending(mesh.memory.import(grant, { members }))).toMatchObject({ code: 'LM_REVOKED' })
      expect((await node.ask('replica', { creator: members[0], name: 'brief' })).info).toBeUndefined()
      brief.close()
    }
    // The others are as they were.
    expect(await remote.fetchAdd(0, 0n)).toBe(0n)
  })

  it('goes on when the one that leads is killed, and every acknowledged add counts once', async () => {
    const before = await standings(members)
    const adds: Promise<bigint>[] = []
    // Beside the adds a word that only this client changes, upwards: whoever leads, it reads what it wrote.
    const cell: Promise<unknown>[] = []
    const expected: unknown[] = []
    const reads: Promise<[least: bigint, read: bigint]>[] = []
    const bytesOf = (word: bigint) => new Uint8Array(new BigUint64Array([word]).buffer)
    let word = 0n
    for (let at = 0; at < ADDS; at++) {
      adds.push(remote.fetchAdd(0, 1n))
      const next = BigInt(at) << 32n
      if (at % 4 === 0) {
        cell.push(remote.write(256, bytesOf(next)))
        expected.push(undefined)
        word = next
      } else if (at % 4 === 1) {
        // One that is made again by the next primary may see what was submitted behind it.
        const least = word
        reads.push(remote.read(256, 8).then((read) => [least, new BigUint64Array(read.slice().buffer)[0] as bigint]))
      } else {
        // One that finds what it expects, and one that does not.
        cell.push(remote.compareAndSwap(256, at % 4 === 2 ? word : word + 1n, next))
        expected.push(word)
        if (at % 4 === 2) word = next
      }
      if (at === ADDS / 2) holder(members[0] as string).node.child.kill('SIGKILL')
      if (at % 10 === 0) await new Promise(setImmediate)
    }
    expect(await Promise.all(adds)).toEqual(adds.map((_, at) => BigInt(at)))
    expect(await Promise.all(cell)).toEqual(expected)
    for (const [least, read] of await Promise.all(reads)) {
      expect(read).toBeGreaterThanOrEqual(least)
      expect(read).toBeLessThanOrEqual(word)
    }
    expect(await remote.fetchAdd(0, 0n)).toBe(BigInt(ADDS))
    expect(await remote.read(256, 8)).toEqual(bytesOf(word))
    expect(new TextDecoder().decode(await remote.read(64, 4))).toBe('kept')

    const after = [...(await standings(members.slice(1))).values()]
    expect(after.map(({ standing }) => standing).sort()).toEqual(['backup', 'primary'])
    // The epoch fences the one that led before.
    for (const { round } of after) expect(round).toBeGreaterThan(before.get(members[0] as string).round)
  })

  it('says that it cannot go on when too few are left, and that nothing happened', async () => {
    const left = await standings(members.slice(1))
    const backup = [...left].find(([, info]) => info.standing === 'backup')?.[0] as string
    holder(backup).node.child.kill('SIGKILL')
    await holder(backup).node.ended
    // Before the one that is left has noticed, it may take an add that it can tell nobody of any more.
    const tried = await ending(remote.fetchAdd(0, 1n, { timeoutMs: 3_000 }))
    expect([
      { code: 'LM_DEADLINE_EXCEEDED', outcome: 'unknown', retryable: false },
      { code: 'LM_NODE_LOST', outcome: 'not-delivered', retryable: true },
    ]).toContainEqual(tried)
    // What comes later is refused before it is sent on.
    expect(await ending(remote.fetchAdd(0, 1n, { timeoutMs: 3_000 }))).toEqual({
      code: 'LM_NODE_LOST',
      outcome: 'not-delivered',
      retryable: true,
    })
  })

  it('refuses arguments that cannot be', async () => {
    const own = mesh.nodeId
    const bytes = new Uint8Array(8)
    const asked = async (memory: Uint8Array | { bytes: number }, replicas: object, rest: object = {}) => {
      const { field, limit } = (await ending(
        mesh.memory.export(NAME, memory, { replicas, ...rest } as never),
      )) as LinkmeshError
      return [field, limit]
    }
    const eight = Array.from({ length: 7 }, () => own)
    expect(await asked(bytes, { backups: [] })).toEqual(['options.replicas.backups', 1])
    expect(await asked(bytes, { backups: eight })).toEqual(['options.replicas.backups', 6])
    expect(await asked(bytes, { backups: ['me'] })).toEqual(['options.replicas.backups[0]', undefined])
    expect(await asked(bytes, { backups: [own] })).toEqual(['options.replicas.backups', 7])
    expect(await asked(bytes, { backups: [own], acknowledgements: 2 })).toEqual([
      'options.replicas.acknowledgements',
      1,
    ])
    expect(await asked(bytes, { backup: [own] })).toEqual(['options.replicas.backup', undefined])
    expect(await asked(bytes, { backups: [own] }, { compression: 'lz4' })).toEqual(['options.compression', undefined])
    expect(await asked(new Uint8Array(0), { backups: [own] })).toEqual(['memory', 1])
    expect(await asked({ bytes: 2 ** 27 }, { backups: [own] })).toEqual(['memory.bytes', 2 ** 26])
    expect(mesh.memory.replica(own, NAME)).toBeUndefined()
    expect(await ending(Promise.resolve().then(() => mesh.memory.acceptReplicas(-1)))).toMatchObject({
      code: 'LM_INVALID_ARGUMENT',
      field: 'bytes',
      limit: 0,
    })
  })
})
