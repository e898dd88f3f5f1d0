/** `linkmesh resolve` and `linkmesh ping` as a user runs them, and the API behind them. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import type { ResolutionInfo } from '../../ts/binding/contract-node.js'
import { type PingSummary, percentile, summarize } from '../../ts/cli/ping.js'
import { NO_NATIVE } from '../support/native.js'
import { type Answer, founder, joiner, type NodeProcess } from '../support/node.js'
import { linkmesh } from './command.js'

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 })

describe.skipIf(NO_NATIVE !== '')(`with the addon ${NO_NATIVE}`, () => {
  const data = mkdtempSync(join(tmpdir(), 'linkmesh-address-'))
  let hub: { node: NodeProcess; info: Answer }
  let far: { node: NodeProcess; info: Answer }
  const run = (...args: string[]) => linkmesh([...args, '--data', data])
  const refused = async (...args: string[]) => {
    const { code, json } = await run(...args, '--json')
    expect(code, args.join(' ')).toBe(1)
    return (json[0] as { error: { code: string; message: string } }).error
  }
  beforeAll(async () => {
    hub = await founder([], { relay: true })
    far = await joiner(hub, [], { listen: 'quic://127.0.0.1:0' })
    const { token } = await hub.node.ask('invite')
    const { code, stderr } = await run('join', hub.info.listening, token)
    expect(stderr).toBe('')
    expect(code).toBe(0)
  })
  afterAll(async () => {
    await far?.node.end('SIGKILL')
    await hub?.node.end('SIGKILL')
    rmSync(data, { recursive: true, force: true })
  })

  it('gives each node an address of the same network', () => {
    expect(hub.info.address).toMatch(/^fd[0-9a-f]{2}:[0-9a-f:]+::$/)
    const prefix = (address: string) => address.split(':').slice(0, 3)
    expect(prefix(far.info.address)).toEqual(prefix(hub.info.address))
    expect(far.info.address).not.toBe(hub.info.address)
  })

  it('resolves the address of a node that it has never met, through one that has', async () => {
    const { code, json } = await run('resolve', far.info.address, '--via', hub.info.listening, '--json')
    const info = json[0] as unknown as ResolutionInfo
    expect(code, JSON.stringify(info)).toBe(0)
    expect(info).toMatchObject({ nodeId: far.info.nodeId, address: far.info.address, source: 'peer' })
    expect(info.from).toBe(hub.info.nodeId)
    expect(info.endpoints).toEqual([{ kind: 'direct', address: far.info.listening }])
    expect(info.expires as number).toBeGreaterThan(Date.now() / 1_000)
    const people = await run('resolve', `[${far.info.address}]:443`, '--via', hub.info.listening)
    expect(people.stdout).toContain(far.info.nodeId)
    expect(people.stdout).toContain(far.info.listening)
  })

  it('pings by place and by address', async () => {
    for (const [address, node, ...more] of [
      [hub.info.listening, hub],
      [far.info.address, far, '--via', hub.info.listening],
    ]) {
      const { code, json } = await run('ping', address, '--count', '20', '--interval', '0', '--json', ...more)
      expect(code, JSON.stringify(json)).toBe(0)
      expect(json).toHaveLength(21)
      expect(json[0]).toMatchObject({ sequence: 1, nodeId: node.info.nodeId, path: 'same-host' })
      const summary = json[20] as unknown as PingSummary
      expect(summary).toMatchObject({ nodeId: node.info.nodeId, sent: 20, received: 20, loss: 0, paths: ['same-host'] })
      const { min, p50, p90, p99, p999, max } = summary.rttUs as NonNullable<PingSummary['rttUs']>
      const order = [0, min, p50, p90, p99, p999, max]
      expect(order.toSorted((a, b) => a - b)).toEqual(order)
    }
    const { stdout } = await run('ping', hub.info.listening, '--count', '2', '--interval', '1')
    expect(stdout).toMatch(/2 sent, 2 answered, 0\.0 % lost/)
    expect(stdout).toMatch(/p50 .* p90 .* p99 .* p99\.9 /)
  })

  it('pings a node that listens nowhere over a relay, and says so', async () => {
    const quiet = await joiner(hub, [], { sameHost: false })
    const place = [quiet.info.address, '--via', hub.info.listening]
    // Its record is on its way to the relay.
    await vi.waitFor(async () => expect((await run('resolve', ...place)).code).toBe(0), { timeout: 20_000 })
    const { code, json } = await run('ping', ...place, '--count', '3', '--interval', '0', '--json')
    expect(code, JSON.stringify(json)).toBe(0)
    expect(json[0]).toMatchObject({ nodeId: quiet.info.nodeId, path: 'relay', relay: hub.info.nodeId })
    expect(json[3]).toMatchObject({ received: 3, paths: ['relay'] })
    expect((await run('ping', ...place, '--count', '1')).stdout).toContain('way relay')
    await quiet.node.end('SIGKILL')
  })

  it('says what it does not know, and whom it could ask', async () => {
    const nobody = `${hub.info.address.split(':').slice(0, 3).join(':')}:1:2:3::`
    expect(await refused('resolve', nobody, '--via', hub.info.listening)).toMatchObject({ code: 'LM_NOT_FOUND' })
    const other = await refused('resolve', 'fd00:1:2:3:4:5::', '--via', hub.info.listening)
    expect(other).toMatchObject({ code: 'LM_INVALID_ARGUMENT' })
    expect(other.message).toContain('another network')
    const alone = await run('resolve', nobody)
    expect(alone.code).toBe(2)
    expect(alone.stderr).toContain('--via')
    const silent = await refused('ping', 'quic://127.0.0.1:1', '--timeout', '300', '--count', '1')
    expect(silent.code).toMatch(/^LM_(DEADLINE_EXCEEDED|NODE_LOST)$/)
    const stranger = await linkmesh(['ping', hub.info.listening, '--data', join(data, 'nobody')])
    expect(stranger.stderr).toContain('linkmesh join')
  })

  it.each(['', 'fd00', '::1', 'quic://', 'quic://host', 'http://a:1', 'fd00::1%eth0'])('refuses %j', async (text) => {
    const { code, stderr } = await run('ping', text)
    expect(code).toBe(2)
    expect(stderr).toContain('quic://host:port')
  })

  it('explains itself', async () => {
    for (const command of ['ping', 'resolve']) {
      const { code, stdout } = await linkmesh([command, '--help'])
      expect(code).toBe(0)
      for (const option of ['--via', '--data', '--json', '--timeout']) expect(stdout).toContain(option)
    }
  })

  it('answers in a process that is a node already', async () => {
    const found = await hub.node.ask('resolve', { address: far.info.address })
    expect(found).toMatchObject({ nodeId: far.info.nodeId, source: 'connected' })
    expect(await hub.node.ask('resolve', { address: hub.info.address })).toMatchObject({ source: 'own' })
    const answer = await hub.node.ask('ping', { address: far.info.address })
    expect(answer).toMatchObject({ nodeId: far.info.nodeId })
    expect(answer.rttUs).toBeGreaterThan(0)
    const { error } = await hub.node.ask('ping', { address: hub.info.address })
    expect(error.code).toBe('LM_INVALID_ARGUMENT')
    for (const options of [{ timeoutMs: 0 }, { timeoutMs: 1e9 }, { more: 1 }]) {
      const bad = await hub.node.ask('resolve', { address: far.info.address, options })
      expect(bad.error.code, JSON.stringify(options)).toBe('LM_INVALID_ARGUMENT')
    }
  })
})

it('takes percentiles that were measured', () => {
  const sorted = Array.from({ length: 1_000 }, (_, index) => index + 1)
  expect([0, 0.5, 0.9, 0.99, 0.999, 1].map((share) => percentile(sorted, share))).toEqual([
    1, 500, 900, 990, 999, 1_000,
  ])
  expect(percentile([7], 0.999)).toBe(7)
  expect(summarize('a', 3, [])).toMatchObject({ sent: 3, received: 0, loss: 1, rttUs: null })
})

it('says without the addon what it needs', async () => {
  const { code, json } = await linkmesh(['ping', 'quic://127.0.0.1:1', '--json'], {
    env: { LINKMESH_BACKEND: 'fallback' },
  })
  expect(code).toBe(1)
  expect(json[0]).toMatchObject({ error: { code: 'LM_NATIVE_REQUIRED' } })
})
