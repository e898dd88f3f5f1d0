/** Services of one process called from another, over an authenticated connection. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { NO_NATIVE } from '../support/native.js'
import { type Answer, founder, joiner, type NodeProcess } from '../support/node.js'

describe.skipIf(NO_NATIVE !== '')(`services across nodes${NO_NATIVE === '' ? '' : `: ${NO_NATIVE}`}`, () => {
  let first: { node: NodeProcess; info: Answer }
  let second: { node: NodeProcess; info: Answer }
  beforeAll(async () => {
    first = await founder([
      { name: 'echo', zone: 'z1', tags: ['fast'], weight: 7 },
      { name: 'fail' },
      { name: 'bytes' },
      { name: 'count' },
      { name: 'hang' },
    ])
    second = await joiner(first, [{ name: 'whoami' }])
  })
  afterAll(async () => {
    await second?.node.end('SIGKILL')
    await first?.node.end('SIGKILL')
  })

  it('answers as soon as the mesh is open, in both directions', async () => {
    const { reply } = await second.node.ask('request', { service: 'echo', body: { n: 1, text: 'größer' } })
    expect(reply).toEqual({ pid: first.node.child.pid, body: { n: 1, text: 'größer' } })
    expect((await first.node.ask('request', { service: 'whoami' })).reply).toBe(second.node.child.pid)
  })

  it('shows the instances of the other node with what they said of themselves', async () => {
    const { services } = await second.node.ask('services')
    const [echo] = services.find((service: Answer) => service.name === 'echo').instances
    expect(echo).toMatchObject({ zone: 'z1', tags: ['fast'], weight: 7, health: 'healthy' })
    expect(echo.metadata['linkmesh.node']).toBe(first.info.nodeId)
  })

  it('brings errors back as what they were', async () => {
    const { error } = await second.node.ask('request', { service: 'fail' })
    expect(error).toMatchObject({ code: 'E_FAR', message: 'too far' })
    expect(error.stack).toContain('RangeError: too far')
  })

  it('streams with credits', async () => {
    const { items } = await second.node.ask('stream', { service: 'count', body: 500 })
    expect(items).toEqual(Array.from({ length: 500 }, (_, index) => index + 1))
  })

  it.each([1_000, 300_000, 5_000_000])('carries bodies of %d bytes', async (bytes) => {
    expect(await second.node.ask('large', { bytes })).toMatchObject({ right: true })
  })

  it('keeps the deadline of the caller', async () => {
    const { error } = await second.node.ask('request', { service: 'hang', options: { timeoutMs: 100 } })
    expect(error).toMatchObject({ code: 'LM_DEADLINE_EXCEEDED', outcome: 'unknown' })
  })

  it('knows its peers', async () => {
    const { peers } = await second.node.ask('peers')
    expect(peers).toHaveLength(1)
    expect(peers[0]).toMatchObject({ nodeId: first.info.nodeId, address: first.info.listening, side: 'client' })
    expect(peers[0].rttUs).toBeGreaterThan(0)
  })

  it('counts what QUIC does', async () => {
    const { text } = await second.node.ask('metrics')
    const value = (series: string) => Number(new RegExp(`^linkmesh_quic_${series} (\\S+)$`, 'm').exec(text)?.[1])
    const labels = `node="${first.info.nodeId}",node_name="[^"]*"`
    expect(value('peers')).toBe(1)
    expect(value('handshakes_total{event="completed"}')).toBe(1)
    expect(value(`rtt_seconds{${labels}}`)).toBeGreaterThan(0)
    expect(value(`congestion_window_bytes{${labels}}`)).toBeGreaterThan(1_000)
    const sent = value(`packets_sent_total{${labels}}`)
    expect(sent).toBeGreaterThan(0)
    expect(value(`packets_lost_total{${labels}}`)).toBeLessThanOrEqual(sent)
    expect(value(`io_bytes_total{${labels},network_io_direction="receive"}`)).toBeGreaterThan(1_000)
  })

  it('refuses whoever has no token', async () => {
    const stranger = await founder().then((found) => found)
    const { error } = await (async () => {
      const third = await joiner(stranger, [], {
        join: [{ address: first.info.listening, token: (await stranger.node.ask('invite')).token }],
      })
      await third.node.end('SIGKILL')
      return third.info
    })()
    await stranger.node.end('SIGKILL')
    expect(error.code).toMatch(/^LM_(DENIED|NODE_LOST|DEADLINE_EXCEEDED)$/)
  })

  it('says what is true of a request whose node is killed, and forgets its instances', async () => {
    const third = await joiner(first, [{ name: 'lonely', handler: 'hang' }])
    const asked = first.node.ask('request', { service: 'lonely', options: { timeoutMs: 60_000 } })
    // The next answer comes after the request has left.
    await first.node.ask('peers')
    await third.node.end('SIGKILL')
    expect((await asked).error).toMatchObject({ code: 'LM_NODE_LOST', outcome: 'unknown' })
    const { error } = await first.node.ask('request', { service: 'lonely' })
    expect(error).toMatchObject({ code: 'LM_NO_INSTANCE', outcome: 'not-delivered' })
  })

  it('tries a safe request again at another node', async () => {
    const safe = { name: 'safe', handler: 'hang', idempotent: true }
    const third = await joiner(first, [safe])
    const asked = first.node.ask('request', { service: 'safe', options: { timeoutMs: 60_000 } })
    await first.node.ask('peers')
    const fourth = await joiner(first, [{ ...safe, handler: 'whoami' }])
    await third.node.end('SIGKILL')
    expect((await asked).reply).toBe(fourth.node.child.pid)
    await fourth.node.end('SIGKILL')
  })

  it('ends by itself when it is told to close', async () => {
    const third = await joiner(first)
    await third.node.ask('close')
    expect(await third.node.end()).toBe(0)
    expect(third.node.stderr).toBe('')
  })
})
