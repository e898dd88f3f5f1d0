/** What a client of the gateway sees: routes, bodies, replies, errors with their problem details. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Gateway, type GatewayAnswer, httpReply, startGateway } from '../../ts/adapters/http.js'
import { LinkmeshError, Mesh } from '../../ts/index.js'
import { describe } from '../support/backend.js'

describe('a gateway in front of services', () => {
  let mesh: Mesh
  let gateway: Gateway
  const answers: GatewayAnswer[] = []
  let release: () => void = () => {}

  beforeAll(async () => {
    mesh = await Mesh.open({ name: 'routing' })
    mesh.service('orders.get', (body: { id: string }) => ({ ...body }))
    mesh.service('orders.create', (body) =>
      httpReply(body, { status: 201, headers: { location: '/orders/1', connection: 'upgrade' } }),
    )
    mesh.service('orders.raw', (body: Uint8Array) => body)
    mesh.service('orders.text', () => 'grüße')
    mesh.service('orders.nothing', () => undefined)
    mesh.service('orders.refuses', () => {
      throw Object.assign(new Error('No such order'), { status: 404 })
    })
    mesh.service('orders.breaks', () => {
      throw new Error('secret of the house')
    })
    mesh.service(
      'orders.slow',
      (_, ctx) =>
        new Promise((_resolve, reject) => ctx.signal.addEventListener('abort', () => reject(new Error('aborted')))),
    )
    mesh.service('orders.held', () => new Promise<string>((resolve) => (release = () => resolve('done'))), {
      policy: { concurrency: 1, queueLimit: 0 },
    })
    mesh.define('orders.nobody')
    gateway = await startGateway({
      mesh,
      port: 0,
      routes: {
        'GET /orders/:id': 'orders.get',
        'PUT /orders/:id': 'orders.get',
        'GET /orders/latest': 'orders.text',
        'GET /naïve/:id': 'orders.get',
        'GET /files/{path=**}': 'orders.get',
        'POST /orders': 'orders.create',
        'POST /raw': { service: 'orders.raw', body: 'raw', contentType: 'image/png' },
        'GET /nothing': 'orders.nothing',
        'GET /refuses': 'orders.refuses',
        'GET /breaks': 'orders.breaks',
        'GET /slow': { service: 'orders.slow', timeoutMs: 60_000 },
        'GET /held': 'orders.held',
        'GET /nobody': 'orders.nobody',
      },
      onAnswer: (answer) => answers.push(answer),
    })
  })
  afterAll(async () => {
    await gateway.close(0)
    await mesh.close({ graceMs: 0 })
  })

  const ask = (path: string, init?: RequestInit) => fetch(`${gateway.url}${path}`, init)
  const json = (body: unknown, method = 'POST'): RequestInit => ({
    method,
    body: JSON.stringify(body),
    headers: { 'content-type': 'application/json' },
  })

  describe('routes', () => {
    it('the most specific one wins, and parameters reach the handler decoded', async () => {
      expect(await (await ask('/orders/7%20a')).json()).toEqual({ id: '7 a' })
      expect(await (await ask('/orders/latest')).text()).toBe('grüße')
      expect(await (await ask('/files/a/b/c')).json()).toEqual({ path: 'a/b/c' })
    })

    it('a pattern may have letters beyond ASCII', async () => {
      expect(await (await ask('/na%C3%AFve/1')).json()).toEqual({ id: '1' })
    })

    it('body, query and path come as one object, and the path wins', async () => {
      const reply = await ask('/orders/path?id=query&q=1&q=2', json({ id: 'body', sku: 'A' }, 'PUT'))
      expect(await reply.json()).toEqual({ sku: 'A', q: ['1', '2'], id: 'path' })
    })

    it('an unknown path is 404, a known one with another method 405 with Allow', async () => {
      const missing = await ask('/missing')
      expect(missing.status).toBe(404)
      expect(await missing.json()).toMatchObject({ status: 404, title: 'Not Found', code: 'LM_NOT_FOUND' })
      const wrong = await ask('/orders/1', { method: 'DELETE' })
      expect(wrong.status).toBe(405)
      expect(wrong.headers.get('allow')).toBe('GET, HEAD, PUT, OPTIONS')
    })

    it('OPTIONS lists the methods, HEAD is GET without its body', async () => {
      const options = await ask('/orders', { method: 'OPTIONS' })
      expect([options.status, options.headers.get('allow')]).toEqual([204, 'POST, OPTIONS'])
      const head = await ask('/orders/latest', { method: 'HEAD' })
      expect([head.status, head.headers.get('content-length'), await head.text()]).toEqual([200, '7', ''])
    })

    it('two routes of the same paths are refused by name', async () => {
      const routes = { 'GET /a/:x': 'orders.get', 'GET /a/:y': 'orders.get' }
      await expect(startGateway({ mesh, port: 0, routes })).rejects.toMatchObject({
        code: 'LM_DUPLICATE',
        field: 'routes["GET /a/:y"]',
      })
      await expect(startGateway({ mesh, port: 0, routes: { nonsense: 'a.b' } })).rejects.toBeInstanceOf(LinkmeshError)
    })
  })

  describe('replies', () => {
    it('httpReply sets status and headers, but none of the connection', async () => {
      const reply = await ask('/orders', json({ a: 1 }))
      expect([reply.status, reply.headers.get('location'), await reply.json()]).toEqual([201, '/orders/1', { a: 1 }])
      expect(reply.headers.get('connection')).not.toBe('upgrade')
    })

    it('bytes stay bytes, nothing is 204', async () => {
      const bytes = new Uint8Array([0, 255, 10, 13])
      const reply = await ask('/raw', { method: 'POST', body: bytes })
      expect(reply.headers.get('content-type')).toBe('image/png')
      expect(new Uint8Array(await reply.arrayBuffer())).toEqual(bytes)
      expect((await ask('/nothing')).status).toBe(204)
    })
  })

  describe('failures', () => {
    it('requests that were wrong do not open the breaker of the instance that said so', async () => {
      const statuses: number[] = []
      for (let round = 0; round < 30; round++) statuses.push((await ask('/refuses')).status)
      expect(statuses).toEqual(Array(30).fill(404))
    })

    it("a handler's own status passes, its other errors do not show", async () => {
      const refused = await ask('/refuses')
      expect([refused.status, ((await refused.json()) as { detail: string }).detail]).toEqual([404, 'No such order'])
      const broken = await ask('/breaks')
      expect(broken.status).toBe(500)
      expect(await broken.text()).not.toContain('secret')
    })

    it('no instance is 503 with Retry-After', async () => {
      const reply = await ask('/nobody')
      expect(reply.status).toBe(503)
      expect(Number(reply.headers.get('retry-after'))).toBeGreaterThanOrEqual(1)
      expect(reply.headers.get('content-type')).toBe('application/problem+json')
      expect(await reply.json()).toMatchObject({
        code: 'LM_NO_INSTANCE',
        type: 'urn:linkmesh:problem:no-instance',
        status: 503,
      })
    })

    it.each([
      ['x-request-timeout-ms', '50'],
      ['grpc-timeout', '50m'],
    ])('a deadline by %s is 504', async (name, value) => {
      const reply = await ask('/slow', { headers: { [name]: value } })
      expect(reply.status).toBe(504)
      expect(await reply.json()).toMatchObject({ code: 'LM_DEADLINE_EXCEEDED' })
    })

    it('a full service is 503 with Retry-After, and served again once it has room', async () => {
      const held = ask('/held')
      while (mesh.services().find((service) => service.name === 'orders.held')?.instances[0]?.inFlight !== 1)
        await new Promise((resolve) => setImmediate(resolve))
      const full = await ask('/held')
      expect(full.status).toBe(503)
      expect(full.headers.has('retry-after')).toBe(true)
      release()
      expect(await (await held).text()).toBe('done')
    })

    it('a client that goes away cancels its request', async () => {
      const controller = new AbortController()
      const gone = ask('/slow', { signal: controller.signal })
      const inFlight = () => mesh.services().find((service) => service.name === 'orders.slow')?.instances[0]?.inFlight
      while (inFlight() !== 1) await new Promise((resolve) => setImmediate(resolve))
      controller.abort()
      await expect(gone).rejects.toThrow()
      while (inFlight() !== 0) await new Promise((resolve) => setImmediate(resolve))
    })

    it('more requests at once than the limit is 429', async () => {
      const small = await startGateway({
        mesh,
        port: 0,
        routes: { 'GET /held': { service: 'orders.slow', timeoutMs: 60_000 } },
        limits: { inFlight: 1 },
      })
      const controller = new AbortController()
      const first = fetch(`${small.url}/held`, { signal: controller.signal })
      while (small.inFlight !== 1) await new Promise((resolve) => setImmediate(resolve))
      const second = await fetch(`${small.url}/held`)
      expect([second.status, second.headers.get('retry-after')]).toEqual([429, '1'])
      expect(await second.json()).toMatchObject({ code: 'LM_RATE_LIMITED', limit: 1 })
      controller.abort()
      await expect(first).rejects.toThrow()
      await small.close(0)
    })
  })

  describe('what the gateway says about itself', () => {
    it('/health, /services', async () => {
      expect(await (await ask('/health')).json()).toMatchObject({
        status: 'degraded',
        withoutInstance: ['orders.nobody'],
      })
      const { services } = (await (await ask('/services')).json()) as { services: { name: string }[] }
      expect(services.map(({ name }) => name)).toContain('orders.get')
    })

    it('/metrics as Prometheus text, or OpenMetrics when asked', async () => {
      const text = await ask('/metrics')
      expect(text.headers.get('content-type')).toContain('version=0.0.4')
      expect(await text.text()).toMatch(/^# (HELP|TYPE) /m)
      const open = await ask('/metrics', { headers: { accept: 'application/openmetrics-text; version=1.0.0' } })
      expect(open.headers.get('content-type')).toContain('application/openmetrics-text')
      expect((await open.text()).trimEnd().endsWith('# EOF')).toBe(true)
    })

    it('/explain shows the candidates of the next picks', async () => {
      const explained = ask('/explain?service=orders.get&picks=1')
      let answered = false
      void explained.then(() => {
        answered = true
      })
      while (!answered) await ask('/orders/1')
      const answer = (await (await explained).json()) as {
        trial: boolean
        picks: { service: string; candidates: unknown[] }[]
      }
      expect(answer.trial).toBe(false)
      expect(answer.picks[0]).toMatchObject({ service: 'orders.get', candidates: [{ filter: null }] })
    })

    it('/explain of an unknown service is 404, without one 400', async () => {
      expect((await ask('/explain?service=nope')).status).toBe(404)
      expect((await ask('/explain')).status).toBe(400)
      expect((await ask('/explain?service=orders.get&picks=21')).status).toBe(400)
    })

    it('every answer is told to onAnswer once', async () => {
      answers.length = 0
      await (await ask('/orders/1', { headers: { 'x-request-id': 'told' } })).text()
      while (answers.length === 0) await new Promise((resolve) => setImmediate(resolve))
      expect(answers).toMatchObject([
        { target: 'orders.get', method: 'GET', path: '/orders/1', status: 200, requestId: 'told' },
      ])
      expect(answers[0]?.us).toBeGreaterThan(0)
    })
  })
})

describe('other routes while it is open', () => {
  it('hold from the next request on; a wrong one changes nothing', async () => {
    const mesh = await Mesh.open({ name: 'rerouted' })
    mesh.service('a.get', () => 'a')
    mesh.service('b.get', () => 'b')
    const gateway = await startGateway({ mesh, port: 0, routes: { 'GET /x': 'a.get' } })
    const get = async (path: string) => {
      const reply = await fetch(`${gateway.url}${path}`)
      return reply.status === 200 ? reply.text() : reply.status
    }
    expect(await get('/x')).toBe('a')
    gateway.reconfigure({ routes: { 'GET /x': 'b.get', 'GET /y': 'a.get' }, limits: { targetBytes: 64 } })
    expect([await get('/x'), await get('/y'), await get(`/${'z'.repeat(100)}`)]).toEqual(['b', 'a', 414])
    expect(() => gateway.reconfigure({ routes: { 'GET /z': 'a.get', 'GET z': 'a.get' } })).toThrow(/z/)
    expect([await get('/x'), await get('/z')]).toEqual(['b', 404])
    gateway.reconfigure({ routes: { 'GET /z': 'a.get' } })
    expect([await get('/x'), await get(`/z?${'z'.repeat(100)}`)]).toEqual([404, 'a'])
    await gateway.close()
    await mesh.close()
  })
})
