/** The way down: what was accepted is answered, and nothing hangs. */
import { once } from 'node:events'
import { Agent, request as httpRequest } from 'node:http'
import { connect } from 'node:net'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { type Gateway, startGateway } from '../../ts/adapters/http.js'
import { Mesh } from '../../ts/index.js'
import { describe } from '../support/backend.js'

describe('the way down of a gateway', () => {
  let mesh: Mesh
  let gateway: Gateway
  let held: (() => void)[]

  beforeEach(async () => {
    mesh = await Mesh.open({ name: 'drain' })
    held = []
    mesh.service('work.now', () => 'now')
    mesh.service('work.held', () => new Promise<string>((resolve) => held.push(() => resolve('held'))))
    gateway = await startGateway({ mesh, port: 0, routes: { 'GET /now': 'work.now', 'GET /held': 'work.held' } })
  })
  afterEach(async () => {
    await gateway.close(0)
    await mesh.close({ graceMs: 0 })
  })

  const turn = () => new Promise((resolve) => setImmediate(resolve))
  function get(path: string, agent: Agent): Promise<{ status: number; connection: string | undefined; body: string }> {
    return new Promise((resolve, reject) => {
      const request = httpRequest(`${gateway.url}${path}`, { agent }, (reply) => {
        let body = ''
        reply.setEncoding('utf8').on('data', (chunk: string) => {
          body += chunk
        })
        reply
          .on('error', reject)
          .on('end', () => resolve({ status: reply.statusCode as number, connection: reply.headers.connection, body }))
      })
      request.on('error', reject).end()
    })
  }

  describe('a drain', () => {
    it('answers what is in flight, tells the client to close, and refuses new connections', async () => {
      const agent = new Agent({ keepAlive: true })
      const inFlight = get('/held', agent)
      while (held.length === 0) await turn()
      const { url } = gateway
      const closed = gateway.close()
      await expect(fetch(`${url}/now`)).rejects.toThrow()
      held[0]?.()
      expect(await inFlight).toMatchObject({ status: 200, body: 'held' })
      await closed
      agent.destroy()
    })

    it('serves a request that is under way on a kept-alive connection', async () => {
      const agent = new Agent({ keepAlive: true, maxSockets: 1 })
      expect((await get('/now', agent)).connection).toBe('keep-alive')
      const closed = gateway.close()
      expect(await get('/now', agent)).toEqual({ status: 200, connection: 'close', body: 'now' })
      await closed
      agent.destroy()
    })

    it('loses nothing of a stream of requests over many connections', async () => {
      const agent = new Agent({ keepAlive: true, maxSockets: 16 })
      let answered = 0
      const refused: string[] = []
      let stop = false
      const client = async () => {
        while (!stop)
          try {
            const { status } = await get('/now', agent)
            if (status === 200) answered++
            if (answered === 200) void gateway.close().then(() => (stop = true))
          } catch (error) {
            refused.push((error as NodeJS.ErrnoException).code ?? String(error))
          }
      }
      await Promise.all(Array.from({ length: 16 }, client))
      expect(answered).toBeGreaterThanOrEqual(200)
      // A new connection may be refused; a request that was sent may not be cut off.
      expect(refused.filter((code) => code !== 'ECONNREFUSED')).toEqual([])
      agent.destroy()
    })

    it('says draining on /health while it drains', async () => {
      const agent = new Agent({ keepAlive: true, maxSockets: 2 })
      await Promise.all([get('/now', agent), get('/now', agent)])
      const closed = gateway.close()
      expect(await get('/health', agent)).toMatchObject({ status: 503, body: expect.stringContaining('"draining"') })
      await closed
      agent.destroy()
    })

    it('ends after its grace although a request hangs and a client sits idle', async () => {
      const { hostname, port } = new URL(gateway.url)
      const idle = connect(Number(port), hostname)
      await once(idle, 'connect')
      const agent = new Agent()
      const hanging = get('/held', agent)
      const cut = expect(hanging).rejects.toThrow()
      while (held.length === 0) await turn()
      await gateway.close(50)
      await cut
      await gateway.close()
      idle.destroy()
    })
  })
})
