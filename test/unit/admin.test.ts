/** Orders by the API and over the local socket; what a bad, slow or dying client does to others. */
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { connectAdmin, findAdmins } from '../../ts/admin.js'
import { Mesh } from '../../ts/index.js'

const runtime = mkdtempSync(join(tmpdir(), 'lm-admin-'))
vi.stubEnv('XDG_RUNTIME_DIR', runtime)
afterAll(() => {
  vi.unstubAllEnvs()
  rmSync(runtime, { recursive: true, force: true })
})

let count = 0
let mesh: Mesh
beforeEach(async () => {
  mesh = await Mesh.open({ name: `admin ${process.pid}/${count++}` })
  for (const name of ['a', 'b'])
    mesh.register('orders', { address: `http://${name}`, metadata: { instance: `orders#${name}` } })
})
afterEach(() => mesh.close({ graceMs: 0 }))

const instance = (name: string) => {
  const found = mesh.services()[0]?.instances.find(({ metadata }) => metadata.instance === name)
  if (found === undefined) throw new Error(name)
  return found
}
/** Names of those that ten requests go to. */
function picked(): string[] {
  const route = mesh.route('orders')
  const seen = new Set<string>()
  for (let n = 0; n < 10; n++) {
    const ticket = route.pick()
    seen.add(route.instance(ticket).address as string)
    route.complete(ticket, 0)
  }
  return [...seen].sort()
}
const trail = async () =>
  (await mesh.audit.tail(100)).map(({ entry }) => `${entry.actor}: ${entry.action} ${entry.target}`)

describe('orders', () => {
  it('drain and undrain, by name, address or handle; each is in the trail', async () => {
    await mesh.admin.drain({ service: 'orders', instance: 'orders#a' })
    expect(instance('orders#a').health).toBe('draining')
    expect(picked()).toEqual(['http://b'])
    await mesh.admin.undrain({ service: 'orders', instance: 'http://a' }, { by: 'ada' })
    expect(picked()).toEqual(['http://a', 'http://b'])
    const { handle } = instance('orders#b')
    expect(await mesh.admin.drain({ service: 'orders', instance: handle })).toEqual([handle])
    expect(await mesh.admin.undrain({ service: 'orders' })).toHaveLength(2)
    expect(await trail()).toEqual([
      'api: admin.drain orders orders#a',
      'ada: admin.undrain orders http://a',
      `api: admin.drain orders ${handle}`,
      'api: admin.undrain orders',
    ])
  })

  it('eject, breakers, weight and reset', async () => {
    const a = { service: 'orders', instance: 'orders#a' }
    await mesh.admin.eject(a, { forMs: 60_000 })
    expect(picked()).toEqual(['http://b'])
    await mesh.admin.eject(a, { forMs: 0 })
    expect(picked()).toEqual(['http://a', 'http://b'])
    await mesh.admin.openBreaker(a)
    expect(instance('orders#a').breaker).toBe('open')
    expect(picked()).toEqual(['http://b'])
    await mesh.admin.closeBreaker(a)
    await mesh.admin.eject(a)
    await mesh.admin.reset(a)
    expect(picked()).toEqual(['http://a', 'http://b'])
    await mesh.admin.setWeight(a, 7)
    expect(instance('orders#a').weight).toBe(7)
  })

  it('changes the given fields of a policy and leaves the others', async () => {
    mesh.define('orders', { timeoutMs: 1_234, breaker: { openMs: 777 } })
    const after = await mesh.admin.changePolicy('orders', { balancer: 'maglev', breaker: { minRequests: 9 } })
    expect(after).toMatchObject({ balancer: 'maglev', timeoutMs: 1_234, breaker: { openMs: 777, minRequests: 9 } })
    await expect(mesh.admin.changePolicy('orders', { breaker: { openMs: -1 } })).rejects.toMatchObject({
      code: 'LM_INVALID_ARGUMENT',
    })
    expect(mesh.services()[0]?.policy).toMatchObject({ balancer: 'maglev', breaker: { openMs: 777 } })
    expect(await trail()).toEqual([
      'api: admin.change-policy orders',
      'api: admin.change-policy orders',
      'api: admin.change-policy.refused orders',
    ])
  })

  it.each([
    ['instance', () => mesh.admin.drain({ service: 'orders', instance: 'nobody' }), 'LM_NOT_FOUND'],
    ['service', () => mesh.admin.drain({ service: 'nothing' }), 'LM_NOT_FOUND'],
    ['weight', () => mesh.admin.setWeight({ service: 'orders' }, 0), 'LM_INVALID_ARGUMENT'],
    ['options.forMs', () => mesh.admin.eject({ service: 'orders' }, { forMs: 3_600_001 }), 'LM_INVALID_ARGUMENT'],
    ['by', () => mesh.admin.drain({ service: 'orders' }, { by: '' }), 'LM_INVALID_ARGUMENT'],
  ])('refuses a wrong %s and does nothing', async (field, order, code) => {
    const before = JSON.stringify(mesh.services())
    await expect((async () => order())()).rejects.toMatchObject({ code, field })
    expect(JSON.stringify(mesh.services())).toBe(before)
  })

  it('follow tells what happens until it is left', async () => {
    const stop = new AbortController()
    const events = mesh.admin.follow(stop.signal)
    await mesh.admin.drain({ service: 'orders', instance: 'orders#a' })
    expect((await events.next()).value).toMatchObject({ kind: 'instance-changed', health: 'draining' })
    stop.abort()
    expect((await events.next()).done).toBe(true)
  })

  it('a dump holds everything and has a JSON form', async () => {
    const dump = JSON.parse(JSON.stringify(await mesh.admin.dump())) as Record<string, unknown>
    expect(dump).toMatchObject({ mesh: mesh.name, pid: process.pid, services: [{ name: 'orders' }], peers: [] })
    expect(dump.metrics).toHaveProperty('linkmesh_requests_total')
  })
})

describe.skipIf(process.platform === 'win32')('the local socket', () => {
  it('belongs to its user alone, is found by name, and goes with the mesh', async () => {
    const path = await mesh.admin.listen()
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect(statSync(join(path, '..')).mode & 0o777).toBe(0o700)
    expect(await findAdmins()).toMatchObject([{ mesh: mesh.name, pid: process.pid, path }])
    expect(await mesh.admin.listen()).toBe(path)
    await mesh.close({ graceMs: 0 })
    expect(readdirSync(join(path, '..'))).toEqual([])
  })

  it('is refused in a folder that others can enter', async () => {
    const open = join(runtime, 'open')
    mkdirSync(join(open, 'linkmesh'), { recursive: true, mode: 0o755 })
    vi.stubEnv('XDG_RUNTIME_DIR', open)
    try {
      await expect(mesh.admin.listen()).rejects.toMatchObject({ code: 'LM_DENIED' })
    } finally {
      vi.stubEnv('XDG_RUNTIME_DIR', runtime)
    }
  })

  it('carries orders, looks and what is followed', async () => {
    const session = await connectAdmin(await mesh.admin.listen())
    const events = session.follow('follow')
    const first = events.next()
    expect(await session.ask('drain', { service: 'orders', instance: 'orders#a' }, 'ada')).toHaveLength(1)
    expect((await first).value).toMatchObject({ kind: 'instance-changed', health: 'draining' })
    await events.return()
    expect(await trail()).toEqual(['ada: admin.drain orders orders#a'])
    for (let n = 0; n < 2_000; n++) mesh.metrics.gauge('depth', { shop: `Größe ${n}` }).set(n)
    let text = ''
    for await (const piece of session.follow<string>('metrics', { format: 'csv' })) text += piece
    expect(text).toBe(await mesh.metrics.render('csv'))
    await expect(session.ask('drain', { service: 'nothing' })).rejects.toMatchObject({
      code: 'LM_NOT_FOUND',
      field: 'service',
    })
    await expect(session.ask('constructor')).rejects.toMatchObject({ code: 'LM_INVALID_ARGUMENT', field: 'op' })
    session.close()
  })

  it('picks are explained as they are made', async () => {
    const session = await connectAdmin(await mesh.admin.listen())
    const picks = session.follow('picks', { service: 'orders' })
    const first = picks.next()
    // The question has been read when one after it is answered.
    await session.ask('list')
    picked()
    expect((await first).value).toMatchObject({ service: 'orders', candidates: [{}, {}] })
    await picks.return()
    session.close()
  })

  it.each([
    ['no JSON', 'hello\n', 'LM_CODEC'],
    ['no object', '[]\n', 'LM_INVALID_ARGUMENT'],
    ['no id', '{"op":"list"}\n', 'LM_INVALID_ARGUMENT'],
    ['a negative id', '{"id":-1,"op":"list"}\n', 'LM_INVALID_ARGUMENT'],
    ['no operation', '{"id":1}\n', 'LM_INVALID_ARGUMENT'],
    ['arguments that are a list', '{"id":1,"op":"list","args":[]}\n', 'LM_INVALID_ARGUMENT'],
    ['a line without end', 'x'.repeat(70_000), 'LM_LIMIT_EXCEEDED'],
  ])('answers %s with an error', async (_what, text, code) => {
    const raw = await rawClient(await mesh.admin.listen())
    raw.socket.write(text)
    expect(await raw.line()).toMatchObject({ error: { code } })
    raw.socket.destroy()
    // Others are served as before.
    const session = await connectAdmin(await mesh.admin.listen())
    expect(await session.ask('list')).toHaveLength(1)
    session.close()
  })

  it('bounds the questions of a client and the clients', async () => {
    const path = await mesh.admin.listen()
    const raw = await rawClient(path)
    for (let id = 1; id <= 9; id++) raw.socket.write(`{"id":${id},"op":"follow"}\n`)
    expect(await raw.line()).toMatchObject({ id: 9, error: { code: 'LM_LIMIT_EXCEEDED', limit: 8 } })
    raw.socket.write('{"id":3,"op":"follow"}\n')
    expect(await raw.line()).toMatchObject({ id: 3, error: { code: 'LM_DUPLICATE' } })
    const others = await Promise.all(Array.from({ length: 15 }, () => rawClient(path)))
    await expect(connectAdmin(path)).rejects.toMatchObject({ code: 'LM_LIMIT_EXCEEDED' })
    for (const { socket } of [raw, ...others]) socket.destroy()
  })

  it('a client that reads nothing holds up nobody, and misses events', async () => {
    const path = await mesh.admin.listen()
    const slow = await rawClient(path)
    slow.socket.pause()
    slow.socket.write('{"id":1,"op":"follow"}\n')
    const quick = await connectAdmin(path)
    await quick.ask('list')
    const events = quick.follow<{ kind: string }>('follow')
    let seen = 0
    const reading = (async () => {
      for await (const event of events) if (++seen === 6_000 || event.kind === 'gap') return event.kind
      return 'ended'
    })()
    await quick.ask('list')
    const before = process.memoryUsage().external
    for (let n = 0; n < 3_000; n++) {
      mesh.register(`${'churn'.repeat(50)}${n % 7}`, { address: `http://x/${n}` }).close()
      // The log of events holds a few thousand: the listeners read it before it is overwritten.
      if (n % 20 === 0) await new Promise((resolve) => setImmediate(resolve))
    }
    expect(await reading).not.toBe('gap')
    expect(process.memoryUsage().external - before).toBeLessThan(8 << 20)
    slow.socket.resume()
    const kinds = new Set<unknown>()
    while (!kinds.has('gap')) kinds.add(((await slow.line()) as { item: { kind: string } }).item.kind)
    slow.socket.destroy()
    quick.close()
  })

  it('a client that dies in the middle disturbs nobody', async () => {
    const path = await mesh.admin.listen()
    for (let n = 0; n < 40; n++) {
      const raw = await rawClient(path)
      raw.socket.write('{"id":1,"op":"follow"}\n{"id":2,"op":"dump"}\n{"id":3,"op":"dr')
      raw.socket.destroy()
    }
    const session = await connectAdmin(path)
    expect(await session.ask('list')).toHaveLength(1)
    session.close()
  })
})

/** A client of bytes; its first line has been read. */
async function rawClient(path: string): Promise<{ socket: Socket; line(): Promise<unknown> }> {
  const socket = connect({ path })
  socket.on('error', () => {})
  const lines: string[] = []
  let rest = ''
  let wake: (() => void) | undefined
  socket.setEncoding('utf8').on('data', (text: string) => {
    const parts = (rest + text).split('\n')
    rest = parts.pop() as string
    lines.push(...parts)
    wake?.()
  })
  const line = async (): Promise<unknown> => {
    while (lines.length === 0)
      await new Promise<void>((resolve) => {
        wake = resolve
      })
    return JSON.parse(lines.shift() as string)
  }
  expect(await line()).toMatchObject({ protocol: 1 })
  return { socket, line }
}
