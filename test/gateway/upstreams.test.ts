/** Requests that are forwarded to instances by address: what passes, what does not, and where they go when one is down. */
import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Gateway, startGateway } from '../../ts/adapters/http.js'
import { Mesh } from '../../ts/index.js'
import { describe } from '../support/backend.js'

describe('a gateway in front of upstreams', () => {
  const servers: Server[] = []
  async function serve(listener: RequestListener): Promise<string> {
    const server = createServer(listener)
    servers.push(server)
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  }
  /** An address where nobody listens: it was free a moment ago. */
  async function deadAddress(): Promise<string> {
    const url = await serve(() => {})
    await new Promise((resolve) => servers.pop()?.close(resolve))
    return url
  }

  let mesh: Mesh
  let gateway: Gateway
  const seen: { url: string | undefined; rawHeaders: string[]; body: string }[] = []
  const record = async (request: IncomingMessage) => {
    let body = ''
    for await (const chunk of request) body += chunk
    seen.push({ url: request.url, rawHeaders: request.rawHeaders, body })
    return body
  }

  const large = Buffer.from(Uint32Array.from({ length: 2 << 20 }, (_, index) => index).buffer)
  let arrived: () => void = () => {}
  let left: () => void = () => {}

  beforeAll(async () => {
    mesh = await Mesh.open({ name: 'upstreams' })
    const echo = await serve(async (request, response) => {
      const body = await record(request)
      response.writeHead(202, 'Fine', [
        'x-from',
        'upstream',
        'set-cookie',
        'a=1',
        'set-cookie',
        'b=2',
        'connection',
        'x-hop',
        'x-hop',
        '1',
      ])
      response.end(`${request.method} ${request.url} ${body}`)
    })
    mesh.register('echo', { address: echo })
    mesh.register('half', { address: await deadAddress() })
    mesh.register('half', { address: echo })
    mesh.register('down', { address: await deadAddress() })
    mesh.register('silent', { address: await serve(() => {}) })
    let posts = 0
    mesh.register('hangs-up', { address: await serve((request) => {
    posts++
    request.socket.destroy()
  }) }) // biome-ignore format: short
    mesh.register('count', { address: await serve((_, response) => response.end(String(posts))) })
    mesh.register('breaks-off', { address: await serve((request, response) => {
    response.writeHead(200, { 'content-length': 100 })
    response.write('half', () => request.socket.destroy())
  }) }) // biome-ignore format: short
    mesh.register('busy', {
      address: await serve((_, response) => response.writeHead(503, { 'retry-after': '7' }).end('busy')),
    })
    const later = new Date(Date.now() + 45_000).toUTCString()
    mesh.register('closed', {
      address: await serve((_, response) => response.writeHead(429, { 'retry-after': later }).end('closed')),
    })
    mesh.register('large', { address: await serve((_, response) => response.end(large)) })
    mesh.register('waits', {
      address: await serve((_, response) => {
        response.on('close', left)
        arrived()
      }),
    })
    mesh.register('early', {
      address: await serve((request, response) => {
        response.writeProcessing()
        response.writeEarlyHints({ link: '</style.css>; rel=preload' })
        response.writeHead(200, { 'content-length': 5 }).end(request.method === 'HEAD' ? undefined : 'final')
      }),
    })
    const names = [
      'early',
      'echo',
      'half',
      'down',
      'silent',
      'hangs-up',
      'count',
      'breaks-off',
      'busy',
      'closed',
      'large',
      'waits',
    ]
    const routes = Object.fromEntries(
      names.map((upstream) => [`ANY /${upstream}/**`, { upstream, timeoutMs: upstream === 'silent' ? 100 : 5_000 }]),
    )
    gateway = await startGateway({ mesh, port: 0, routes, limits: { bodyBytes: 1_000 } })
  })
  afterAll(async () => {
    await gateway.close(0)
    await mesh.close({ graceMs: 0 })
    for (const server of servers) server.close().closeAllConnections()
  })

  describe('what passes', () => {
    it('method, path, query, body, status and repeated headers', async () => {
      const reply = await fetch(`${gateway.url}/echo/a%20b?q=1&q=2`, { method: 'PUT', body: 'x=1' })
      expect([reply.status, reply.statusText, await reply.text()]).toEqual([
        202,
        'Accepted',
        'PUT /echo/a%20b?q=1&q=2 x=1',
      ])
      expect(reply.headers.getSetCookie()).toEqual(['a=1', 'b=2'])
      expect(reply.headers.get('x-from')).toBe('upstream')
    })

    it('a reply of more than the buffers between hold, whole and in order', async () => {
      const reply = await fetch(`${gateway.url}/large/x`)
      expect(large.equals(Buffer.from(await reply.arrayBuffer()))).toBe(true)
    })

    it('the reply alone, when informational ones came before; of HEAD its fields', async () => {
      const reply = await fetch(`${gateway.url}/early/x`)
      expect([reply.status, await reply.text()]).toEqual([200, 'final'])
      const head = await fetch(`${gateway.url}/early/x`, { method: 'HEAD' })
      expect([head.status, head.headers.get('content-length'), await head.text()]).toEqual([200, '5', ''])
    })

    it('who asked, the request id, and what is left of the time', async () => {
      await fetch(`${gateway.url}/echo/x`, {
        headers: { 'x-request-id': 'id-1', 'x-request-timeout-ms': '900', 'x-forwarded-for': '6.6.6.6' },
      })
      const { rawHeaders } = seen.at(-1) as (typeof seen)[number]
      const headers = new Map(
        rawHeaders.flatMap((name, at) =>
          at % 2 === 0 ? [[name.toLowerCase(), rawHeaders[at + 1] as string] as const] : [],
        ),
      )
      expect(headers.get('x-request-id')).toBe('id-1')
      expect(headers.get('x-forwarded-for')).toBe('127.0.0.1')
      expect(headers.get('x-forwarded-host')).toBe(new URL(gateway.url).host)
      expect(Number(headers.get('x-request-timeout-ms'))).toBeLessThanOrEqual(900)
      expect(rawHeaders.filter((name) => name.toLowerCase() === 'x-request-timeout-ms')).toHaveLength(1)
    })
  })

  describe('what does not pass', () => {
    it('hop-by-hop fields, named by connection or by nature, in both directions', async () => {
      const { hostname, port } = new URL(gateway.url)
      const socket = connect(Number(port), hostname)
      socket.write(
        'GET /echo/x HTTP/1.1\r\nhost: x\r\nconnection: close, x-private\r\nx-private: 1\r\nkeep-alive: 5\r\nte: trailers\r\nproxy-authorization: Basic x\r\nproxy-connection: keep-alive\r\nupgrade: h2c\r\nx-public: 1\r\n\r\n',
      )
      let text = ''
      for await (const chunk of socket) text += chunk
      const names = (seen.at(-1) as (typeof seen)[number]).rawHeaders
        .filter((_, at) => at % 2 === 0)
        .map((name) => name.toLowerCase())
      expect(names).toContain('x-public')
      for (const name of ['x-private', 'keep-alive', 'te', 'proxy-authorization', 'proxy-connection', 'upgrade'])
        expect(names).not.toContain(name)
      expect(text).not.toMatch(/x-hop/i)
    })
  })

  describe('when an instance fails', () => {
    it('one that cannot be reached is passed over: nothing is lost', async () => {
      const replies = await Promise.all(
        Array.from({ length: 20 }, () => fetch(`${gateway.url}/half/x`, { method: 'POST', body: 'b' })),
      )
      expect(replies.map(({ status }) => status)).toEqual(Array(20).fill(202))
    })

    it('with none that can be reached it is 503, not delivered', async () => {
      const reply = await fetch(`${gateway.url}/down/x`)
      expect(reply.status).toBe(503)
      expect(reply.headers.has('retry-after')).toBe(true)
      expect(await reply.json()).toMatchObject({ code: 'LM_NO_INSTANCE', outcome: 'not-delivered' })
    })

    it('one that does not answer in time is 504, outcome unknown', async () => {
      const reply = await fetch(`${gateway.url}/silent/x`)
      expect(reply.status).toBe(504)
      expect(await reply.json()).toMatchObject({ code: 'LM_DEADLINE_EXCEEDED', outcome: 'unknown' })
    })

    it('one that hangs up is 502; a POST is sent once, a GET again', async () => {
      const count = async () => Number(await (await fetch(`${gateway.url}/count/x`)).text())
      const post = await fetch(`${gateway.url}/hangs-up/x`, { method: 'POST', body: 'pay' })
      expect([post.status, await count()]).toEqual([502, 1])
      expect(await post.json()).toMatchObject({ outcome: 'unknown' })
      expect((await fetch(`${gateway.url}/hangs-up/x`)).status).toBe(502)
      expect(await count()).toBeGreaterThan(2)
    })

    it('half a reply is never taken for a whole one', async () => {
      const reply = fetch(`${gateway.url}/breaks-off/x`).then((response) => response.text())
      await expect(reply).rejects.toThrow()
    })

    it('a client that goes away takes its request back', async () => {
      const atInstance = new Promise<void>((resolve) => {
        arrived = resolve
      })
      const takenBack = new Promise<void>((resolve) => {
        left = resolve
      })
      const client = new AbortController()
      const reply = fetch(`${gateway.url}/waits/x`, { signal: client.signal })
      await atInstance
      client.abort()
      await expect(reply).rejects.toThrow()
      await takenBack
    })

    it('its own 503 passes as it is', async () => {
      const reply = await fetch(`${gateway.url}/busy/x`)
      expect([reply.status, reply.headers.get('retry-after'), await reply.text()]).toEqual([503, '7', 'busy'])
    })

    it.each([
      ['seconds', 'busy', 7],
      ['a date', 'closed', 45],
    ])('an instance that said when to come back is left alone until then: %s', async (_, upstream, seconds) => {
      await fetch(`${gateway.url}/${upstream}/x`)
      const reply = await fetch(`${gateway.url}/${upstream}/x`)
      expect(reply.status).toBe(503)
      expect(reply.headers.get('content-type')).toBe('application/problem+json')
      const wait = Number(reply.headers.get('retry-after'))
      // Far above the policy's own quarter of a second.
      expect(wait).toBeGreaterThan(1)
      expect(wait).toBeLessThanOrEqual(seconds)
    })

    it('a body above the limit is 413 and is not forwarded', async () => {
      const before = seen.length
      expect((await fetch(`${gateway.url}/echo/x`, { method: 'POST', body: 'x'.repeat(1_001) })).status).toBe(413)
      expect(seen.length).toBe(before)
    })
  })
})
