/** `Idempotency-Key` as a client of the gateway sees it: repeats, conflicts, and keys that are none. */
import { afterEach, expect, it } from 'vitest'
import { type Gateway, httpReply, startGateway } from '../../ts/adapters/http.js'
import { Mesh } from '../../ts/index.js'
import { describe } from '../support/backend.js'

describe('a gateway and requests with an idempotency key', () => {
  let mesh: Mesh
  let gateway: Gateway
  let runs: number
  /** Ends the request that is held. */
  let release: () => void

  afterEach(async () => {
    await gateway.close(0)
    await mesh.close({ graceMs: 0 })
  })

  async function start(idempotency?: 'accept' | 'require' | 'ignore'): Promise<void> {
    mesh = await Mesh.open({ name: `idempotency-${Math.random()}` })
    runs = 0
    mesh.service('orders.create', (body: { sku?: string }) => {
      runs++
      if (body.sku === 'none') throw Object.assign(new Error('No such thing'), { status: 404 })
      return httpReply({ run: runs, sku: body.sku }, { status: 201, headers: { location: `/orders/${runs}` } })
    })
    mesh.service('orders.held', () => {
      runs++
      return new Promise((resolve) => {
        release = () => resolve({ run: runs })
      })
    })
    const route = (service: string) => ({ service, idempotency })
    gateway = await startGateway({
      mesh,
      port: 0,
      routes: {
        'POST /orders': route('orders.create'),
        'PUT /orders': route('orders.create'),
        'POST /held': route('orders.held'),
      },
    })
  }
  const send = (key: string | undefined, body: object = { sku: 'A' }, more: RequestInit = {}, path = '/orders') =>
    fetch(`${gateway.url}${path}`, {
      method: 'POST',
      body: JSON.stringify(body),
      ...more,
      headers: {
        'content-type': 'application/json',
        ...(key === undefined ? {} : { 'idempotency-key': key }),
        ...(more.headers as Record<string, string>),
      },
    })

  it('a repeat has the first answer: status, fields and body; another key is another request', async () => {
    await start()
    const first = await send('"8e03978e-40d5"')
    const repeat = await send('"8e03978e-40d5"')
    for (const reply of [first, repeat]) {
      expect(reply.status).toBe(201)
      expect(reply.headers.get('location')).toBe('/orders/1')
      expect(await reply.json()).toEqual({ run: 1, sku: 'A' })
    }
    // The bare word that many clients send is the same key.
    expect(await (await send('8e03978e-40d5')).json()).toEqual({ run: 1, sku: 'A' })
    expect(await (await send('"other"')).json()).toEqual({ run: 2, sku: 'A' })
    expect(await (await send(undefined)).json()).toEqual({ run: 3, sku: 'A' })
  })

  it('a failure is an answer, too', async () => {
    await start()
    for (let time = 0; time < 2; time++) {
      const reply = await send('"k"', { sku: 'none' })
      expect(reply.status).toBe(404)
      expect(await reply.json()).toMatchObject({ detail: 'No such thing' })
    }
    expect(runs).toBe(1)
  })

  it('409 while the first is being answered, and its answer afterwards', async () => {
    await start()
    const first = send('"k"', {}, {}, '/held')
    while (runs === 0) await new Promise((resolve) => setImmediate(resolve))
    const early = await send('"k"', {}, {}, '/held')
    expect(early.status).toBe(409)
    expect(early.headers.get('retry-after')).toBe('1')
    expect(await early.json()).toMatchObject({
      code: 'LM_CONFLICT',
      field: 'idempotency-key',
      outcome: 'not-delivered',
    })
    release()
    expect(await (await first).json()).toEqual({ run: 1 })
    expect(await (await send('"k"', {}, {}, '/held')).json()).toEqual({ run: 1 })
  })

  it('a client that lost its connection has the answer of what it began', async () => {
    await start()
    const controller = new AbortController()
    const lost = send('"k"', {}, { signal: controller.signal }, '/held').catch(() => undefined)
    while (runs === 0) await new Promise((resolve) => setImmediate(resolve))
    controller.abort()
    await lost
    while (gateway.inFlight > 0) await new Promise((resolve) => setImmediate(resolve))
    const again = send('"k"', {}, {}, '/held')
    while (gateway.inFlight === 0) await new Promise((resolve) => setImmediate(resolve))
    release()
    expect(await (await again).json()).toEqual({ run: 1 })
    expect(runs).toBe(1)
  })

  it('422 for a key that was used for another request', async () => {
    await start()
    await send('"k"')
    const other = await send('"k"', { sku: 'B' })
    expect(other.status).toBe(422)
    expect(await other.json()).toMatchObject({ code: 'LM_CONFLICT', field: 'idempotency-key', status: 422 })
    expect((await send('"k"', { sku: 'A' }, {}, '/orders?fast=1')).status).toBe(422)
    expect(runs).toBe(1)
    // The instance did nothing wrong.
    expect(mesh.services().find(({ name }) => name === 'orders.create')?.instances[0]?.failed).toBe(0)
  })

  it('keys belong to whoever is authorised: nobody has the answer to somebody else', async () => {
    await start()
    const as = async (authorization: string) => (await send('"k"', { sku: 'A' }, { headers: { authorization } })).json()
    expect(await as('Bearer one')).toEqual({ run: 1, sku: 'A' })
    expect(await as('Bearer two')).toEqual({ run: 2, sku: 'A' })
    expect(await as('Bearer one')).toEqual({ run: 1, sku: 'A' })
  })

  it.each([
    '',
    '""',
    '"open',
    'two words',
    '"a" "b"',
    '"tab\\t"',
    '"a";b',
    `"${'x'.repeat(256)}"`,
    'x'.repeat(256),
    'a,b',
  ])('400 for %j', async (key) => {
    await start()
    const reply = await send(key)
    expect(reply.status).toBe(400)
    expect(reply.headers.get('content-type')).toBe('application/problem+json')
    expect(await reply.json()).toMatchObject({ field: 'idempotency-key', code: 'LM_INVALID_ARGUMENT' })
    expect(runs).toBe(0)
  })

  it('is required, or not looked at, when the route says so; never of methods that are repeatable', async () => {
    await start('require')
    expect((await send(undefined)).status).toBe(400)
    expect((await send(undefined, {}, { method: 'PUT' })).status).toBe(201)
    expect((await send('"k"')).status).toBe(201)
    await gateway.close(0)
    await mesh.close({ graceMs: 0 })
    await start('ignore')
    for (const run of [1, 2]) expect(await (await send('two words')).json()).toEqual({ run, sku: 'A' })
  })
})
