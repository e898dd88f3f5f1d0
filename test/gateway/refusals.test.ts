/** What never reaches a handler: malformed, ambiguous, too large and too slow requests, sent byte by byte. */
import { connect, type Socket } from 'node:net'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Gateway, startGateway } from '../../ts/adapters/http.js'
import { Mesh } from '../../ts/index.js'
import { describe } from '../support/backend.js'

describe('a gateway and its bad clients', () => {
  let mesh: Mesh
  let gateway: Gateway
  const reached: unknown[] = []

  beforeAll(async () => {
    mesh = await Mesh.open({ name: 'refusals' })
    mesh.service('echo.say', (body) => {
      reached.push(body)
      return body
    })
    gateway = await startGateway({
      mesh,
      port: 0,
      routes: { 'GET /say/:word': 'echo.say', 'POST /say': 'echo.say', 'GET /all/**': 'echo.say' },
      limits: {
        bodyBytes: 1_000,
        headerBytes: 4_096,
        targetBytes: 512,
        headersTimeoutMs: 200,
        requestTimeoutMs: 400,
        connectionsPerClient: 8,
      },
    })
  })
  afterAll(async () => {
    await gateway.close(0)
    await mesh.close({ graceMs: 0 })
  })

  /** Sends bytes as they are and gives back everything that came until the gateway closed or the reply was whole. */
  function raw(bytes: string, { open = false } = {}): Promise<{ status: number; text: string; socket: Socket }> {
    return new Promise((resolve, reject) => {
      const { hostname, port } = new URL(gateway.url)
      const socket = connect(Number(port), hostname, () => socket.write(bytes, 'latin1'))
      let text = ''
      const done = () => resolve({ status: Number(/^HTTP\/1\.1 (\d{3})/.exec(text)?.[1] ?? 0), text, socket })
      socket.setEncoding('latin1')
      socket.on('data', (chunk) => {
        text += chunk
        const head = text.indexOf('\r\n\r\n')
        const length = Number(/content-length: (\d+)/i.exec(text)?.[1] ?? 0)
        if (!open && head >= 0 && text.length >= head + 4 + length) socket.destroy()
      })
      socket.on('error', reject)
      socket.on('close', done)
    })
  }

  function problemIn(text: string): Record<string, unknown> {
    expect(text).toMatch(/content-type: application\/problem\+json/i)
    return JSON.parse(text.slice(text.indexOf('\r\n\r\n') + 4)) as Record<string, unknown>
  }

  const get = (target: string, more = '') => `GET ${target} HTTP/1.1\r\nhost: x\r\n${more}connection: close\r\n\r\n`
  const post = (headers: string, body: string) =>
    `POST /say HTTP/1.1\r\nhost: x\r\nconnection: close\r\n${headers}\r\n${body}`

  describe('paths that two readers could take differently', () => {
    it.each([
      ['an encoded slash', '/say/a%2Fb'],
      ['an encoded slash in lower case', '/say/a%2fb'],
      ['an encoded backslash', '/say/a%5cb'],
      ['a backslash', '/say/a\\b'],
      ['NUL', '/say/a%00b'],
      ['an encoded line feed', '/say/a%0ab'],
      ['dot segments', '/all/../say/x'],
      ['a single dot', '/all/./x'],
      ['encoded dot segments', '/all/%2e%2E/say/x'],
      ['a mixed dot segment', '/all/.%2e/say/x'],
      ['dots at the end', '/all/..'],
      ['an empty segment', '/all//x'],
      ['two slashes at the start', '//evil.example/x'],
      ['a % that begins no escape', '/say/100%'],
      ['bytes that are not UTF-8', '/say/%ff'],
      ['an absolute form', 'http://evil.example/say/x'],
      ['a fragment', '/say/x#y'],
      ['a raw control character', '/say/a\u0001b'],
      ['a raw byte above ASCII', '/say/\u00e9'],
    ])('%s is 400', async (_, target) => {
      const before = reached.length
      const { status, text } = await raw(get(target))
      expect(status).toBe(400)
      expect(problemIn(text)).toMatchObject({ status: 400, code: 'LM_INVALID_ARGUMENT' })
      expect(reached.length).toBe(before)
    })

    it('harmless escapes are decoded once', async () => {
      await raw(get('/say/a%20b%252Fc%C3%A9'))
      expect(reached.at(-1)).toEqual({ word: 'a b%2Fcé' })
    })

    it('a long target is 414, and names the limit', async () => {
      const { status, text } = await raw(get(`/say/${'x'.repeat(600)}`))
      expect(status).toBe(414)
      expect(problemIn(text)).toMatchObject({ field: 'target', limit: 512 })
    })
  })

  describe('framing', () => {
    it.each([
      [
        'two content-lengths',
        post('content-length: 2\r\ncontent-length: 2\r\ncontent-type: application/json\r\n', '{}'),
      ],
      ['two different content-lengths', post('content-length: 2\r\ncontent-length: 3\r\n', '{}')],
      ['a list of content-lengths', post('content-length: 2, 2\r\n', '{}')],
      ['a content-length with a sign', post('content-length: +2\r\n', '{}')],
      [
        'transfer-encoding with content-length',
        post('transfer-encoding: chunked\r\ncontent-length: 2\r\n', '0\r\n\r\n'),
      ],
      [
        'content-length with transfer-encoding',
        post('content-length: 5\r\ntransfer-encoding: chunked\r\n', '0\r\n\r\n'),
      ],
      ['chunked twice', post('transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n', '0\r\n\r\n')],
      ['an unknown transfer coding before chunked', post('transfer-encoding: x, chunked\r\n', '0\r\n\r\n')],
      ['a space before the colon', get('/say/x', 'x-a : 1\r\n')],
      ['a folded header', get('/say/x', 'x-a: 1\r\n 2\r\n')],
      ['a bare line feed in a header', get('/say/x', 'x-a: 1\nx-b: 2\r\n')],
      ['NUL in a header', get('/say/x', 'x-a: 1\u00002\r\n')],
      ['two hosts', get('/say/x', 'host: y\r\n')],
      ['no host', 'GET /say/x HTTP/1.1\r\nconnection: close\r\n\r\n'],
      ['a chunk size that is no number', post('transfer-encoding: chunked\r\n', 'zz\r\n{}\r\n0\r\n\r\n')],
      ['a malformed request line', 'GET  /say/x HTTP/1.1 x\r\nhost: x\r\n\r\n'],
    ])('%s is refused, and nothing behind it is read', async (_, bytes) => {
      const before = reached.length
      const { status, text } = await raw(`${bytes}${get('/say/smuggled')}`, { open: true })
      expect(status === 400 || status === 501).toBe(true)
      problemIn(text.slice(0, text.indexOf('}') + 1))
      expect(text.match(/HTTP\/1\.1 \d/g)).toHaveLength(1)
      expect(reached.slice(before)).toEqual([])
    })
  })

  describe('limits', () => {
    it('a declared body above the limit is 413 before it is sent', async () => {
      const { status, text } = await raw(post('content-length: 1001\r\ncontent-type: application/json\r\n', ''))
      expect(status).toBe(413)
      expect(problemIn(text)).toMatchObject({ field: 'body', limit: 1_000, code: 'LM_LIMIT_EXCEEDED' })
      expect(text).toMatch(/connection: close/i)
    })

    it('an undeclared body is 413 as soon as it is too large', async () => {
      const chunk = `258\r\n${'x'.repeat(0x258)}\r\n`
      const { status } = await raw(post('transfer-encoding: chunked\r\n', `${chunk}${chunk}`), { open: true })
      expect(status).toBe(413)
    })

    it('headers above the limit are 431', async () => {
      const { status, text } = await raw(get('/say/x', `x-a: ${'x'.repeat(5_000)}\r\n`))
      expect(status).toBe(431)
      expect(problemIn(text)).toMatchObject({ field: 'headers' })
    })

    it('expect: 100-continue with too large a body never asks for it', async () => {
      const { text } = await raw(post('content-length: 5000\r\nexpect: 100-continue\r\n', ''))
      expect(text).toMatch(/^HTTP\/1\.1 413/)
    })

    it('a client that sends its headers drop by drop is cut off', async () => {
      const slow = raw('GET /say/x HTTP/1.1\r\nhost: x\r\nx-slow: ', { open: true })
      expect((await slow).status).toBe(408)
    })

    it('a client that never ends its body is cut off, and others are served meanwhile', async () => {
      const before = reached.length
      const slow = raw(post('content-length: 10\r\ncontent-type: application/json\r\n', '{"a"'), { open: true })
      expect((await raw(get('/say/meanwhile'))).status).toBe(200)
      expect([0, 400, 408]).toContain((await slow).status)
      expect(reached.slice(before)).toEqual([{ word: 'meanwhile' }])
    })

    it('one client gets so many sockets and no more', async () => {
      const { hostname, port } = new URL(gateway.url)
      const sockets = Array.from({ length: 9 }, () => connect(Number(port), hostname))
      const last = sockets.at(-1) as Socket
      await new Promise((resolve) => last.on('close', resolve))
      for (const socket of sockets) socket.destroy()
      await Promise.all(sockets.slice(0, -1).map((socket) => new Promise((resolve) => socket.on('close', resolve))))
    })
  })

  describe('fields that must not do harm', () => {
    it.each(['a b', 'x'.repeat(129), '<script>', ''])('a request id like %j is replaced', async (id) => {
      const { text } = await raw(get('/say/x', `x-request-id: ${id}\r\n`))
      expect(text).toMatch(/x-request-id: [0-9a-f]{24}\r\n/i)
    })

    it('a sane request id is kept', async () => {
      expect((await raw(get('/say/x', 'x-request-id: a-1.b_2:c\r\n'))).text).toContain('x-request-id: a-1.b_2:c\r\n')
    })

    it.each(['0', '-1', '1e3', 'NaN', '99999999999'])('x-request-timeout-ms: %s is 400', async (value) => {
      const { status, text } = await raw(get('/say/x', `x-request-timeout-ms: ${value}\r\n`))
      expect(status).toBe(400)
      expect(problemIn(text)).toMatchObject({ field: 'x-request-timeout-ms' })
    })

    it.each([
      ['{"__proto__":{"admin":true}}', 'application/json', 400],
      ['[1]', 'application/json', 400],
      ['{', 'application/json', 400],
      ['"\u00ff"', 'application/json', 400],
      ['{}', 'text/plain', 415],
      ['{}', 'application/json; charset=latin1', 415],
    ])('the body %s as %s is %i', async (body, type, wanted) => {
      const before = reached.length
      const { status } = await raw(post(`content-length: ${body.length}\r\ncontent-type: ${type}\r\n`, body))
      expect(status).toBe(wanted)
      expect(reached.length).toBe(before)
    })

    it('__proto__ in a query is 400', async () => {
      expect((await raw(get('/say/x?__proto__=1'))).status).toBe(400)
    })
  })
})
