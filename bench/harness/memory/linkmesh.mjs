/** linkmesh as a contender: a region of another process over QUIC, one that is mapped, and a service over there. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { built } from '../native.mjs'
import { BODY_BYTES, cpuOfBoth, LARGE_BYTES, other } from './contenders.mjs'

export const BULK_BYTES = 16 << 20
/** Where the adds count; reads look at the words after it. */
const COUNTER = 0

/** @param {{ mtu?: number }} [options] as `Mesh.open` takes them */
export async function linkmesh({ mtu } = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'linkmesh-bench-'))
  const { Mesh } = await built('index.js')
  const server = await other('linkmesh', { data: join(folder, 'server'), bytes: BULK_BYTES, mtu })
  const mesh = await Mesh.open({
    name: mtu === undefined ? 'bench-memory' : `bench-memory-${mtu}`,
    join: [server.address.joining[0]],
    data: join(folder, 'client'),
    nodeName: 'client',
    mtu,
  })
  let byQuic
  /** A node of its own that is not to know that the other one is on this host. */
  const remote = async () => {
    byQuic ??= await Mesh.open({
      name: 'bench-memory-quic',
      join: [server.address.joining[1]],
      data: join(folder, 'remote'),
      nodeName: 'remote',
      sameHost: false,
    })
    return byQuic
  }
  const grants = await server.ask({ to: mesh.nodeId })
  const far = await mesh.memory.import(grants.far)
  const near = await mesh.memory.import(grants.near)
  const deadline = performance.now() + 5_000
  while (near.info().via !== 'shared-memory' && performance.now() < deadline) await new Promise(setImmediate)

  // Each place of the first MiB after the counter holds its own number.
  const words = new BigUint64Array(LARGE_BYTES / 8)
  for (let at = 0; at < words.length; at++) words[at] = BigInt(at)
  const stored = new Uint8Array(words.buffer)
  await far.write(BODY_BYTES, stored)
  await near.write(BODY_BYTES, stored)

  const bytes = new Uint8Array(BODY_BYTES)
  const target = new Uint32Array(bytes.buffer)
  let turn = 0
  /** Another place each time. */
  const place = () => {
    turn = (turn + 1) & 1_023
    return BODY_BYTES + turn * BODY_BYTES
  }
  const check = () => {
    if (target[0] !== turn * 8) throw new Error(`read ${target[0]} at place ${turn}`)
  }
  const operations = (region) => ({
    one: async () => {
      await region.read(place(), BODY_BYTES, bytes)
      check()
    },
    sync: () => {
      region.readSync(place(), bytes)
      check()
    },
    add: () => region.fetchAdd(COUNTER, 1n),
    /** One awaited after the other, without a function around each. */
    reads: async (count) => {
      for (let at = 0; at < count; at++) {
        await region.read(place(), BODY_BYTES, bytes)
        check()
      }
    },
    adds: async (count) => {
      for (let at = 0; at < count; at++) await region.fetchAdd(COUNTER, 1n)
    },
    swap: () => region.casSync(COUNTER, 1n, 1n),
    /** So many promises at a time. */
    many: async (count) => {
      const reads = Array.from({ length: count }, (_, at) => region.read(BODY_BYTES * (at + 1), BODY_BYTES))
      const last = (await Promise.all(reads)).at(-1)
      if (last[0] !== (((count - 1) * 8) & 0xff)) throw new Error('an answer to something else')
    },
    /** One frame, one promise. */
    batch: async (count) => {
      const batch = region.batch()
      for (let at = 0; at < count; at++) batch.read(BODY_BYTES * (at + 1), BODY_BYTES, targets[at])
      await batch.flush()
      if (targets[count - 1][0] !== (((count - 1) * 8) & 0xff)) throw new Error('an answer to something else')
    },
    large: async () => {
      const read = await region.read(BODY_BYTES, LARGE_BYTES, largeTarget)
      if (read[LARGE_BYTES - 8] !== 0xff) throw new Error('a wrong answer')
    },
    bulkRead: () => region.read(0, BULK_BYTES, bulk),
    bulkWrite: () => region.write(0, bulk),
  })
  const targets = Array.from({ length: 256 }, () => new Uint8Array(BODY_BYTES))
  const largeTarget = new Uint8Array(LARGE_BYTES)
  const bulk = new Uint8Array(BULK_BYTES)
  await far.read(0, BULK_BYTES, bulk)

  const text = 'x'.repeat(200)
  return {
    far: operations(far),
    near: near.info().via === 'shared-memory' ? operations(near) : undefined,
    request: async () => {
      if ((await mesh.request('echo', text)) !== text) throw new Error('a wrong answer')
    },
    requestByQuic: async () => {
      if ((await (byQuic ?? (await remote())).request('echo', text)) !== text) throw new Error('a wrong answer')
    },
    cpu: cpuOfBoth(server),
    /** Of the other process. */
    pid: server.pid,
    close: async () => {
      await mesh.close({ graceMs: 0 })
      await byQuic?.close({ graceMs: 0 })
      server.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
