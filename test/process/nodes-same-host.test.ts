/** Two nodes of one host: requests through memory that they share, and what becomes of them when that ends. */
import { existsSync, readdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { NO_NATIVE } from '../support/native.js'
import { founder, joiner, type Node, until } from '../support/node.js'

const SKIP = NO_NATIVE !== '' ? NO_NATIVE : process.platform === 'linux' ? '' : 'memory is shared on Linux only'

describe.skipIf(SKIP !== '')(`nodes of one host${SKIP === '' ? '' : `: ${SKIP}`}`, () => {
  const open: Node[] = []
  const keep = (node: Node): Node => {
    open.push(node)
    return node
  }
  afterEach(async () => {
    await Promise.all(open.splice(0).map(({ node }) => node.end('SIGKILL')))
  })
  const via = async ({ node }: Node): Promise<string> => (await node.ask('peers')).peers[0]?.via
  const linked = async (...nodes: Node[]) => {
    for (const node of nodes) await until(async () => (await via(node)) === 'shared-memory')
  }

  it('link up by themselves, and everything goes through the ring: small, large, streams, errors', async () => {
    const first = keep(
      await founder([{ name: 'echo' }, { name: 'bytes' }, { name: 'count' }, { name: 'fail' }, { name: 'hang' }]),
    )
    const second = keep(await joiner(first, [{ name: 'whoami' }]))
    await linked(first, second)
    expect((await second.node.ask('request', { service: 'echo', body: { n: 1 } })).reply.body).toEqual({ n: 1 })
    expect((await first.node.ask('request', { service: 'whoami' })).reply).toBe(second.node.child.pid)
    // Larger than the ring, and many of a kind that fills it again and again.
    for (const bytes of [1, 1_000, 70_000, 300_000, 1_100_000, 9_000_000])
      expect(await second.node.ask('large', { bytes })).toMatchObject({ right: true })
    const { ok } = await second.node.ask('burst', { service: 'echo', count: 500, body: 'x'.repeat(20_000) })
    expect(ok).toBe(500)
    const { items } = await second.node.ask('stream', { service: 'count', body: 2_000 })
    expect(items).toHaveLength(2_000)
    expect((await second.node.ask('request', { service: 'fail' })).error).toMatchObject({ code: 'E_FAR' })
    expect(await via(second)).toBe('shared-memory')
    const [peer] = (await second.node.ask('peers')).peers
    // Nothing of it went over the network: 9 MB there and back would show.
    expect(peer.bytesOut).toBeLessThan(1_000_000)
  })

  it('use QUIC when one of them is told to', async () => {
    const first = keep(await founder([{ name: 'echo' }]))
    const second = keep(await joiner(first, [], { sameHost: false }))
    for (let round = 0; round < 20; round++)
      expect((await second.node.ask('request', { service: 'echo', body: round })).reply.body).toBe(round)
    expect(await via(second)).toBe('quic')
    expect(await via(first)).toBe('quic')
  })

  it('a change of ways in the middle of the traffic loses and reorders nothing', async () => {
    const first = keep(await founder([{ name: 'count' }, { name: 'echo' }]))
    // Streams begin over QUIC, right after the connection, and go on over the ring.
    const second = keep(await joiner(first))
    const streams = await Promise.all(
      Array.from({ length: 8 }, () => second.node.ask('stream', { service: 'count', body: 3_000 })),
    )
    const wanted = Array.from({ length: 3_000 }, (_, index) => index + 1)
    for (const { items } of streams) expect(items).toEqual(wanted)
    await linked(first, second)
  })

  it('a killed peer is noticed at once, long before its silence would tell', async () => {
    const victim = keep(await founder([{ name: 'lonely', handler: 'hang' }]))
    const near = keep(await joiner(victim))
    const far = keep(await joiner(victim, [], { sameHost: false }))
    await linked(near)
    const asked = near.node.ask('request', { service: 'lonely', options: { timeoutMs: 60_000 } })
    await near.node.ask('peers')
    victim.node.child.kill('SIGKILL')
    expect((await asked).error).toMatchObject({ code: 'LM_NODE_LOST', outcome: 'unknown' })
    expect((await near.node.ask('peers')).peers).toEqual([])
    // The one that has only QUIC still waits for a sign of life.
    expect((await far.node.ask('peers')).peers).toHaveLength(1)
  })

  it('a killed peer leaves nothing locked: the next one links up and works', async () => {
    const first = keep(await founder([{ name: 'echo' }]))
    const second = keep(await joiner(first, [{ name: 'lonely', handler: 'whoami' }]))
    await linked(first, second)
    const flood = second.node.ask('burst', { service: 'echo', count: 5_000, body: 'x'.repeat(5_000) })
    flood.catch(() => {})
    await first.node.ask('peers')
    second.node.child.kill('SIGKILL')
    const third = keep(await joiner(first, [{ name: 'lonely', handler: 'whoami' }]))
    await until(async () => (await first.node.ask('peers')).peers.length === 1)
    await linked(first, third)
    expect((await first.node.ask('request', { service: 'lonely' })).reply).toBe(third.node.child.pid)
  })

  it('what a killed process has left of its socket goes with the next one that opens', async () => {
    const first = keep(await founder())
    const second = keep(await joiner(first))
    await linked(first, second)
    const base = process.env.XDG_RUNTIME_DIR ?? tmpdir()
    const folder = join(base, `linkmesh-${process.getuid?.()}`)
    expect(existsSync(folder)).toBe(true)
    const before = new Set(readdirSync(folder))
    second.node.child.kill('SIGKILL')
    await second.node.ended
    const third = keep(await joiner(first))
    await linked(first, third)
    const gone = [...before].filter((name) => !readdirSync(folder).includes(name))
    expect(gone.length).toBeGreaterThan(0)
  })
})
