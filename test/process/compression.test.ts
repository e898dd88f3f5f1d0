/** Compression of transfers between two processes: what crosses the network, and that nothing else changes. */
import { createHash, randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Compression, Mesh, RemoteRegion } from '../../ts/index.js'
import { NO_NATIVE } from '../support/native.js'
import { founder, guest, type Node } from '../support/node.js'

const MIB = 1 << 20
const LENGTH = 4 * MIB

const hashOf = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')
const text = () => Buffer.alloc(LENGTH, 'POST /orders/77 {"articles":[1,2,3],"paid":false} ')

describe.skipIf(NO_NATIVE !== '')(`compressed transfers${NO_NATIVE === '' ? '' : `: ${NO_NATIVE}`}`, () => {
  let first: Node
  let mesh: Mesh
  let end: (() => Promise<void>) | undefined

  beforeAll(async () => {
    first = await founder()
    ;({ mesh, end } = await guest(first, 'compression'))
  })
  afterAll(() => end?.())

  /** Bytes that crossed the network meanwhile, in and out. */
  async function crossed(work: () => Promise<void>): Promise<{ in: number; out: number }> {
    const sums = () =>
      mesh
        .peers()
        .reduce((sum, peer) => ({ in: sum.in + peer.bytesIn, out: sum.out + peer.bytesOut }), { in: 0, out: 0 })
    const before = sums()
    await work()
    const after = sums()
    return { in: after.in - before.in, out: after.out - before.out }
  }

  /** Both ways over one region: bytes in of the read, bytes out of the write. The content is compared at both ends. */
  async function bothWays(name: string, remote: RemoteRegion, shrinks: boolean): Promise<{ in: number; out: number }> {
    await first.node.ask('stuff', { name, shrinks })
    let read: Uint8Array = new Uint8Array()
    const reading = await crossed(async () => {
      read = await remote.read(0, LENGTH)
    })
    expect(hashOf(read)).toBe((await first.node.ask('hash', { name })).sha256)
    const bytes = shrinks ? text() : randomBytes(LENGTH)
    const writing = await crossed(() => remote.write(0, bytes))
    expect((await first.node.ask('hash', { name })).sha256).toBe(hashOf(bytes))
    return { in: reading.in, out: writing.out }
  }

  it.each(['none', 'lz4', 'zstd', 'auto'] as Compression[])('%s', async (compression) => {
    const name = `region-${compression}`
    // Memory of JavaScript's goes over the network, whatever the two processes share.
    expect(await first.node.ask('export', { name, bytes: LENGTH, options: { compression } })).toMatchObject({
      kind: 'borrowed',
    })
    const { grant } = await first.node.ask('grant', { name, options: { to: mesh.nodeId, rights: 'rw' } })
    const remote = await mesh.memory.import(grant)
    const packed = await bothWays(name, remote, true)
    const noise = await bothWays(name, remote, false)
    // What does not shrink costs a few bytes a block more, never less than it is.
    for (const bytes of [noise.in, noise.out]) expect(bytes).toBeGreaterThan(LENGTH)
    for (const bytes of [noise.in, noise.out]) expect(bytes).toBeLessThan(1.5 * LENGTH)
    const most = Math.max(packed.in, packed.out)
    if (compression === 'none') expect(Math.min(packed.in, packed.out)).toBeGreaterThan(LENGTH)
    // On a fast path `auto` may find that nothing is worth it; that is its right.
    else if (compression !== 'auto') expect(most).toBeLessThan(LENGTH / 4)
    remote.close()
  })
})
