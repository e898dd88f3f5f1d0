/** A node with several engine threads: its peers' packets come to one or another, and what it knows is the same for all. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { NO_NATIVE } from '../support/native.js'
import { founder, joiner, type Node, NodeProcess } from '../support/node.js'

const SKIP = NO_NATIVE !== '' ? NO_NATIVE : process.platform === 'linux' ? '' : 'several engine threads need Linux'
const PEERS = 4
const ADDS = 60
const QUIC_ONLY = { sameHost: false }

describe.skipIf(SKIP !== '').each([1, 3])(`engine threads: %d${SKIP === '' ? '' : ` (${SKIP})`}`, (engineThreads) => {
  let first: Node
  let peers: Node[] = []
  beforeAll(async () => {
    first = await founder([{ name: 'echo' }, { name: 'bytes' }, { name: 'count' }], { ...QUIC_ONLY, engineThreads })
    for (let peer = 0; peer < PEERS; peer++)
      // The last one listens and dials with as many threads itself.
      peers.push(
        await joiner(first, [{ name: `who-${peer}`, handler: 'whoami' }], {
          ...QUIC_ONLY,
          ...(peer === PEERS - 1 && { listen: 'quic://127.0.0.1:0', engineThreads }),
        }),
      )
  })
  afterAll(async () => {
    await Promise.all([first, ...peers].map((one) => one?.node.end('SIGKILL')))
    peers = []
  })

  it('requests go both ways between it and every peer, short, long and as streams', async () => {
    await Promise.all(
      peers.map(async ({ node }, peer) => {
        expect((await node.ask('request', { service: 'echo', body: peer })).reply.body).toBe(peer)
        expect(await node.ask('large', { bytes: 2_000_000 })).toMatchObject({ right: true })
        expect((await node.ask('burst', { service: 'echo', count: 200, body: 'x'.repeat(2_000) })).ok).toBe(200)
        expect((await node.ask('stream', { service: 'count', body: 300 })).items).toHaveLength(300)
        expect((await first.node.ask('request', { service: `who-${peer}` })).reply).toBe(node.child.pid)
      }),
    )
  })

  it('adds from all peers meet in one word, and each sees what another wrote', async () => {
    await first.node.ask('export', { name: 'scores', bytes: 1 << 20 })
    for (const { node, info } of peers) {
      const { grant } = await first.node.ask('grant', { name: 'scores', options: { to: info.nodeId, rights: 'rwa' } })
      expect(await node.ask('import', { grant, as: 'scores' })).not.toHaveProperty('error')
    }
    const adds = peers.map(async ({ node }) => {
      const seen: string[] = []
      for (let add = 0; add < ADDS; add++) {
        const answer = await node.ask('fetchAdd', { as: 'scores', offset: 0, operand: 1 })
        seen.push(answer.before)
      }
      return seen
    })
    const before = (await Promise.all(adds)).flat().map(Number)
    expect(before.sort((a, b) => a - b)).toEqual(Array.from({ length: PEERS * ADDS }, (_, at) => at))
    expect((await first.node.ask('word', { name: 'scores', index: 0 })).value).toBe(String(PEERS * ADDS))
    // A bulk read of each, at the same time.
    await first.node.ask('fill', { name: 'scores' })
    const { hex } = await first.node.ask('bytes', { name: 'scores', offset: 0, length: 300_000 })
    for (const { node } of peers)
      expect((await node.ask('readRegion', { as: 'scores', offset: 0, length: 300_000 })).hex).toBe(hex)
  })

  it('it reads from a region of each peer', async () => {
    for (const [peer, { node }] of peers.entries()) {
      await node.ask('export', { name: 'own', bytes: 4_096 })
      await node.ask('fill', { name: 'own', seed: peer })
      const founderId = first.info.nodeId
      const { grant } = await node.ask('grant', { name: 'own', options: { to: founderId, rights: 'ra' } })
      await first.node.ask('import', { grant, as: `peer-${peer}` })
    }
    for (const [peer, { node }] of peers.entries()) {
      const { hex } = await node.ask('bytes', { name: 'own', offset: 64, length: 64 })
      expect((await first.node.ask('readRegion', { as: `peer-${peer}`, offset: 64, length: 64 })).hex).toBe(hex)
    }
  })

  it('its statistics are those of all threads together', async () => {
    const { text } = await first.node.ask('metrics')
    expect(Number(/^linkmesh_quic_peers(?:\{[^}]*\})? (\S+)$/m.exec(text)?.[1])).toBe(PEERS)
    expect((await first.node.ask('peers')).peers).toHaveLength(PEERS)
  })

  it('a peer that starts again finds its grant good and its word as it left it', async () => {
    const [{ node, info }] = peers.splice(0, 1) as [Node]
    const { value } = await first.node.ask('word', { name: 'scores', index: 8 })
    const { grant } = await first.node.ask('grant', { name: 'scores', options: { to: info.nodeId, rights: 'ra' } })
    node.child.kill('SIGKILL')
    await node.ended
    // Each start is another connection, on whichever thread: the counts are the same.
    for (let start = 0; start < 4; start++) {
      const again = new NodeProcess(node.data)
      const join = [{ address: first.info.listening }]
      expect(await again.ask('open', { options: { join, data: node.data, ...QUIC_ONLY } })).toMatchObject({
        nodeId: info.nodeId,
      })
      await again.ask('import', { grant, as: 'scores' })
      const { before } = await again.ask('fetchAdd', { as: 'scores', offset: 64, operand: 1 })
      expect(BigInt(before)).toBe(BigInt(value) + BigInt(start))
      again.child.kill('SIGKILL')
      await again.ended
    }
    await node.end()
  })
})
