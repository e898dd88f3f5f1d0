/** Nodes that listen nowhere, and so have no way to each other but over a relay. */
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { NO_NATIVE } from '../support/native.js'
import { type Answer, founder, joiner, type Node, until } from '../support/node.js'

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 })

const QUIC_ONLY = { sameHost: false }
const RELAY = { ...QUIC_ONLY, listen: 'quic://127.0.0.1:0', relay: { sessions: 8 } }

describe.skipIf(NO_NATIVE !== '')(`nodes that meet over relays${NO_NATIVE === '' ? '' : `: ${NO_NATIVE}`}`, () => {
  const relays: Node[] = []
  let caller: Node
  let server: Node

  const series = async ({ node }: Node, name: string) => {
    const { text } = await node.ask('metrics')
    return Number(new RegExp(`^linkmesh_${name} (\\S+)$`, 'm').exec(text)?.[1])
  }
  const relayOf = ({ relay }: Answer) => relays.find(({ info }) => info.nodeId === relay) as Node
  /** The caller's connection to the server. */
  const way = async () =>
    (await caller.node.ask('peers')).peers.findLast((peer: Answer) => peer.nodeId === server.info.nodeId)

  beforeAll(async () => {
    relays.push(await founder([], RELAY))
    relays.push(await joiner(relays[0] as Node, [], RELAY))
    const [first, second] = relays as [Node, Node]
    caller = await joiner(first, [], QUIC_ONLY)
    server = await joiner(first, [{ name: 'whoami' }], QUIC_ONLY)
    for (const { node } of [caller, server]) await node.ask('connect', { address: second.info.listening })
    // The server's record reaches the relays once it is signed.
    await until(async () => (await caller.node.ask('resolve', { address: server.info.address })).error === undefined)
  })
  afterAll(async () => {
    for (const one of [caller, server, ...relays]) await one?.node.end('SIGKILL')
  })

  it('find each other by address, through the relays that their records name', async () => {
    const found = await caller.node.ask('resolve', { address: server.info.address })
    expect(found).toMatchObject({ nodeId: server.info.nodeId })
    const kinds = new Set(found.endpoints.map(({ kind }: Answer) => kind))
    expect(kinds).toEqual(new Set(['relay']))
    const named = found.endpoints.map(({ relay }: Answer) => relay)
    expect(relays.map(({ info }) => info.nodeId)).toEqual(expect.arrayContaining(named))
  })

  it('request, read memory and ping over a relay, which carries what it cannot read', async () => {
    const { peer } = await caller.node.ask('connect', { address: server.info.address })
    expect(peer).toMatchObject({ nodeId: server.info.nodeId, via: 'quic' })
    const relay = relayOf(peer)
    expect(peer.address).toBe(relay.info.listening)
    const before = await series(relay, 'relay_forwarded_bytes_total')
    expect((await caller.node.ask('request', { service: 'whoami' })).reply).toBe(server.node.child.pid)

    await server.node.ask('export', { name: 'scores', bytes: 4_096, options: { rights: 'rwa' } })
    await server.node.ask('fill', { name: 'scores' })
    const options = { to: caller.info.nodeId, rights: 'ra' }
    const { grant } = await server.node.ask('grant', { name: 'scores', options })
    await caller.node.ask('import', { grant, as: 'far' })
    const { hex } = await caller.node.ask('readRegion', { as: 'far', offset: 100, length: 2_000 })
    expect(hex).toBe((await server.node.ask('bytes', { name: 'scores', offset: 100, length: 2_000 })).hex)
    expect(await series(relay, 'relay_forwarded_bytes_total')).toBeGreaterThan(before + 2_000)
    expect(await series(relay, 'relay_sessions')).toBeGreaterThan(0)

    const ping = await caller.node.ask('ping', { address: server.info.address })
    expect(ping).toMatchObject({ nodeId: server.info.nodeId, path: 'relay', relay: relay.info.nodeId })
    expect(ping.rttUs).toBeGreaterThan(0)
    expect(await series(caller, 'translation_entries')).toBe(3)
    expect(await series(caller, 'translation_lookups_total{result="hit"}')).toBeGreaterThan(0)
    expect(await series(caller, `relay_trust_ratio{node="${relay.info.nodeId}"}`)).toBeGreaterThan(0.4)
  })

  it('move to the other relay when theirs is killed, and every addition counts once', async () => {
    const relay = relayOf(await way())
    const [other] = relays.filter((one) => one !== relay) as [Node]
    await until(async () => (await series(other, 'relay_sessions')) > 0)
    await server.node.ask('store', { name: 'scores', index: 0, value: '0' })
    const add = () => caller.node.ask('fetchAdd', { as: 'far', offset: 0, operand: 1 })
    expect(await add()).toMatchObject({ before: '0' })
    relay.node.child.kill('SIGKILL')
    // It waits for the connection to be there again, or says that it does not know.
    let sure = 1
    for (let round = 0; round < 5; round++) if ((await add()).error === undefined) sure++
    await until(async () => (await way())?.relay === other.info.nodeId)
    await until(async () => (await caller.node.ask('request', { service: 'whoami' })).reply === server.node.child.pid)
    const { before } = await add()
    expect(Number(before)).toBe(sure)
    expect(await caller.node.ask('ping', { address: server.info.address })).toMatchObject({
      path: 'relay',
      relay: other.info.nodeId,
    })
  })

  it('say when nobody can bring them together', async () => {
    const [left] = relays.filter(({ node }) => node.child.exitCode === null && node.child.signalCode === null) as [Node]
    left.node.child.kill('SIGKILL')
    await left.node.ended
    await until(async () => (await caller.node.ask('peers')).peers.length === 0)
    const { error } = await caller.node.ask('ping', { address: server.info.address, options: { timeoutMs: 500 } })
    expect(error).toMatchObject({ code: 'LM_DEADLINE_EXCEEDED', retryable: true })
  })
})
