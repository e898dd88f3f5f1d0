/** `linkmesh up` as a user runs it: the storefront, its load, faults in the middle, and the way down. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe as always, expect, it, vi } from 'vitest'
import { choose } from '../../ts/binding/index.js'
import { describe, NO_MESH } from '../support/backend.js'
import { linkmesh, STOREFRONT, start } from './command.js'
import { DATA_ABSENT, dataFile } from './data.js'

const folder = mkdtempSync(join(tmpdir(), 'linkmesh-up-'))
afterAll(() => rmSync(folder, { recursive: true }))
const write = (name: string, text: string) => {
  const path = join(folder, name)
  writeFileSync(path, text)
  return path
}
const backend = choose(process.env.LINKMESH_BACKEND).backend.kind
/** False in a build whose fallback has no router. */
const fallbackRuns = choose('fallback').binding.meshOpen('{"name":"up-test"}') > 0
/** Ten threads start, work and stop: on a busy machine that takes its time. */
vi.setConfig({ testTimeout: 180_000 })
const once = ['up', STOREFRONT, '--once', '--port', '0', '--json', '--seed', '7']
const summaryOf = (json: Record<string, unknown>[]) =>
  json.at(-1) as Record<string, number> & { type: string; backend: { kind: string } }

describe('--once', () => {
  it('sends the requests, every reply is right, and it ends by itself', async () => {
    const { code, json, stderr } = await linkmesh([...once, '--requests', '1500', '--rate', 'max'])
    expect(stderr).toBe('')
    const summary = summaryOf(json)
    expect(summary).toMatchObject({
      type: 'summary',
      routed: 1500,
      answered: 1500,
      failed: 0,
      lost: 0,
      wrong: 0,
      backend: { kind: backend },
    })
    expect(summary.latency).toMatchObject({ count: 1500 })
    expect(code).toBe(0)
    const { instances } = json[0] as { instances: { id: string; thread: number }[] }
    expect(instances).toHaveLength(10)
    expect(new Set(instances.map(({ thread }) => thread)).size).toBe(backend === 'native' ? 10 : 1)
  })

  it('loses nothing that may be repeated when instances are killed in the middle', async () => {
    const { code, json } = await linkmesh([...once, '--requests', '2500', '--rate', '500', '--chaos'])
    const summary = summaryOf(json)
    expect(summary).toMatchObject({ routed: 2500, lost: 0, wrong: 0 })
    expect(summary.killed).toBeGreaterThan(0)
    expect((summary.answered as number) + (summary.failed as number)).toBe(2500)
    expect(code).toBe(0)
  })

  it('replays a real log whole', async ({ skip }) => {
    const log = dataFile('http/apache-access.log.gz')
    if (log === undefined) return skip(DATA_ABSENT)
    const { code, json } = await linkmesh([...once, '--log', log])
    expect(summaryOf(json)).toMatchObject({
      routed: 10_000,
      answered: 10_000,
      skipped: 0,
      failed: 0,
      lost: 0,
      wrong: 0,
    })
    expect(code).toBe(0)
  })

  it('ends with 1 when replies are wrong, and shows which', async () => {
    write('echo.mjs', `export default { say: ({ word }) => (word === '7' ? 'wrong' : word) }`)
    write(
      'load.mjs',
      `export default {
      next: (random) => ({ method: 'GET', target: '/say/' + Math.floor(random() * 10) }),
      expected: ({ target }) => target.slice(5),
      digest: (_, { body }) => Buffer.from(body).toString(),
    }`,
    )
    const config = write(
      'wrong.mjs',
      `export default {
      services: { echo: { module: './echo.mjs' } },
      gateway: { routes: { 'GET /say/:word': 'echo.say' } },
      load: { module: './load.mjs' },
    }`,
    )
    const { code, stdout } = await linkmesh([
      'up',
      config,
      '--once',
      '--requests',
      '200',
      '--port',
      '0',
      '--rate',
      'max',
    ])
    expect(code).toBe(1)
    expect(stdout).toMatch(/GET \/say\/7: 200 with a wrong digest/)
    expect(stdout).toMatch(/FAILED/)
  })
})

describe.skipIf(backend !== 'native')('--nodes', () => {
  it('spreads the instances over processes, and every reply is right', async () => {
    const { code, json, stderr } = await linkmesh([...once, '--nodes', '2', '--requests', '1500', '--rate', 'max'])
    expect(stderr).toBe('')
    const { instances, nodes } = json[0] as { instances: { id: string; node: number }[]; nodes: number[] }
    expect(new Set(nodes).size).toBe(2)
    const nodesOf = (service: string) => instances.filter(({ id }) => id.startsWith(service)).map(({ node }) => node)
    expect(nodesOf('catalog')).toEqual([1, 2])
    expect(nodesOf('orders')).toEqual([1, 2])
    // There is one of it: it stays with the gateway.
    expect(nodesOf('payments')).toEqual([1])
    expect(summaryOf(json)).toMatchObject({ answered: 1500, failed: 0, lost: 0, wrong: 0, nodes: 2, nodesLost: 0 })
    expect(code).toBe(0)
  })

  it('survives the kill of one: nothing is lost, the view shows it, and the summary says so', async () => {
    const up = start([...once, '--nodes', '2', '--requests', '3000', '--rate', '500'])
    const { nodes } = (await up.line(({ type }) => type === 'up')) as { nodes: number[] }
    const { services } = (await up.line(
      ({ type, requestsPerSecond }) => type === 'second' && (requestsPerSecond as number) > 0,
    )) as { services: { name: string; instances: { id: string; node: string; perSecond: number }[] }[] }
    const catalog = services.find(({ name }) => name === 'catalog')?.instances
    expect(catalog).toMatchObject([{ node: '1' }, { node: '2' }])
    process.kill(nodes[1] as number, 'SIGKILL')
    await up.line(({ type, services }) => type === 'second' && JSON.stringify(services).includes('"killed"'))
    const { code, json } = await up.ended
    const summary = summaryOf(json)
    expect(summary).toMatchObject({ routed: 3000, lost: 0, wrong: 0, nodes: 2, nodesLost: 1 })
    // What may be repeated was: only orders that were under way can fail, and their outcome is unknown.
    expect((summary.answered as number) + (summary.failed as number)).toBe(3000)
    expect(summary.failed).toBeLessThan(30)
    expect(code).toBe(0)
  })

  it('services says where each instance is, and SIGTERM ends all processes', async () => {
    const up = start(['up', STOREFRONT, '--nodes', '2', '--port', '0', '--json', '--no-load'])
    const { url, nodes } = (await up.line(({ type }) => type === 'up')) as { url: string; nodes: number[] }
    const { stdout } = await linkmesh(['services', '--url', url])
    expect(stdout).toMatch(/catalog-1 {2}thread \d+ {2}healthy/)
    expect(stdout).toMatch(/catalog-2 {2}node [0-9a-f]{8} {2}healthy/)
    const { peers } = (await linkmesh(['services', '--url', url, '--json'])).json[0] as { peers: { nodeId: string }[] }
    expect(peers).toHaveLength(1)
    up.child.kill('SIGTERM')
    expect((await up.ended).code).toBe(0)
    expect(() => process.kill(nodes[1] as number, 0)).toThrow(/ESRCH/)
  })

  it('--chaos kills whole processes as well, and starts them again', async () => {
    const { code, json } = await linkmesh([...once, '--nodes', '2', '--requests', '2500', '--rate', '400', '--chaos'])
    const summary = summaryOf(json)
    expect(summary).toMatchObject({ routed: 2500, lost: 0, wrong: 0 })
    expect(summary.killed).toBeGreaterThan(0)
    expect(code).toBe(0)
  })
})

describe('serving', () => {
  it('drains on SIGTERM: what was sent is answered, then it ends with 0', async () => {
    const up = start(['up', STOREFRONT, '--port', '0', '--json', '--rate', '50'])
    await up.line(({ type, requestsPerSecond }) => type === 'second' && (requestsPerSecond as number) > 0)
    up.child.kill('SIGTERM')
    const { code, json } = await up.ended
    const summary = summaryOf(json)
    expect(summary).toMatchObject({ type: 'summary', lost: 0, wrong: 0 })
    expect(summary.answered).toBe(summary.routed)
    expect(code).toBe(0)
  })

  it('services and explain look into the running mesh; text and JSON', async () => {
    const up = start(['up', STOREFRONT, '--port', '0', '--json', '--no-load'])
    const { url } = (await up.line(({ type }) => type === 'up')) as { url: string }
    const services = await linkmesh(['services', '--url', url, '--json'])
    expect(services.code).toBe(0)
    expect((services.json[0]!.services as { name: string }[]).map(({ name }) => name)).toContain('orders.create')
    expect((await linkmesh(['services', '--url', url])).stdout).toMatch(/catalog-1 .* healthy {2}breaker closed/)
    const explain = await linkmesh(['explain', 'catalog.get', '--url', url, '--json'])
    expect(explain.json[0]).toMatchObject({ service: 'catalog.get', trial: true, picks: [{ candidates: [{}, {}] }] })
    expect((await linkmesh(['explain', 'catalog.get', '--url', url])).stdout).toMatch(
      /catalog\.get → catalog-[12] {2}by least-request/,
    )
    const unknown = await linkmesh(['explain', 'nope', '--url', url])
    expect([unknown.code, unknown.stderr]).toEqual([2, 'linkmesh: There is no service "nope"; see /services\n'])
    up.child.kill('SIGTERM')
    expect((await up.ended).code).toBe(0)
  })

  it.skipIf(!fallbackRuns)('says in one line that the fallback runs in one thread, and how to get native', async () => {
    const up = start(['up', STOREFRONT, '--port', '0', '--no-load'], { env: { LINKMESH_BACKEND: 'fallback' } })
    await up.text(/npm run build/)
    up.child.kill('SIGTERM')
    const { code, stdout } = await up.ended
    expect(stdout).toMatch(/The native addon is not loaded, so all instances share one thread; .*npm run build/)
    expect(code).toBe(0)
  })
})

always('mistakes', () => {
  it.each([
    ['a missing file', ['up', 'missing.ts'], /missing\.ts is not a usable config:\n {2}\(file\): no such file/],
    ['an unknown option', ['up', '--sped', '2'], /unknown option '--sped'/],
    ['a rate of zero', ['up', '--rate', '0'], /Give a positive number or `max`/],
    ['a port out of range', ['up', '--port', '70000'], /whole number from 0 to 65535/],
    ['an unknown command', ['down'], /unknown command 'down'/],
    ['no load and a log', ['up', STOREFRONT, '--no-load', '--log', 'x'], /--no-load does not go with/],
    ['an address that is none', ['services', '--url', 'x'], /Give an address like/],
  ])('%s ends with 2 and says what to do', async (_, args, message) => {
    const { code, stderr } = await linkmesh(args, { cwd: folder })
    expect(stderr).toMatch(message)
    expect(code).toBe(2)
  })

  it('a wrong field ends with 2; with --json as data', async () => {
    const config = write('bad.json', '{ "gateway": { "port": "80", "routes": {} } }')
    const { code, json } = await linkmesh(['up', config, '--json'])
    expect(json[0]).toMatchObject({ error: { code: 'LM_CONFIG', problems: [{ path: 'gateway.port' }] } })
    expect(code).toBe(2)
  })

  it.skipIf(NO_MESH !== '')('a service module that throws, or is none, ends with 1 and names the file', async () => {
    write('broken.mjs', 'throw new Error("no database")')
    write('none.mjs', 'export default { get: 1 }')
    for (const [module, message] of [
      ['broken', /no database/],
      ['none', /none\.mjs: get: a handler is a function/],
    ] as const) {
      const config = write(`${module}.json`, JSON.stringify({ services: { a: { module: `./${module}.mjs` } } }))
      const { code, stderr } = await linkmesh(['up', config])
      expect(stderr).toMatch(message)
      expect(code).toBe(1)
    }
  })

  it.skipIf(NO_MESH !== '')('a log that is not there, nothing to send, nobody at the address', async () => {
    expect((await linkmesh([...once, '--log', '/missing.log'])).json.at(-1)).toMatchObject({
      error: { message: expect.stringMatching(/missing\.log could not be read/) },
    })
    const config = write('quiet.json', '{}')
    expect((await linkmesh(['up', config, '--once'])).stderr).toMatch(/the config needs `gateway` and `load/)
    expect((await linkmesh(['services', '--url', 'http://127.0.0.1:9'])).stderr).toMatch(
      /nothing answers at http:\/\/127\.0\.0\.1:9; start `linkmesh up`/,
    )
  })
})

always('help and doctor', () => {
  it.each([[[]], [['up']], [['doctor']], [['services']], [['explain']]])('%j --help', async (command) => {
    const { code, stdout } = await linkmesh([...command, '--help'])
    expect(stdout).toMatch(/^Usage: linkmesh/)
    expect(code).toBe(0)
  })

  it.skipIf(NO_MESH !== '')('doctor tests the backend that runs', async () => {
    const { code, json } = await linkmesh(['doctor', '--json'])
    expect(json[0]).toMatchObject({ backend: { kind: backend }, ok: true })
    expect((json[0]!.checks as { ok: boolean | null }[]).filter(({ ok }) => ok === null)).toHaveLength(
      backend === 'native' ? 0 : 2,
    )
    expect(code).toBe(0)
    expect((await linkmesh(['doctor'])).stdout).toMatch(/ok {7}pick and complete/)
  })
})
