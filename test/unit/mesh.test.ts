import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { describe, expect, it } from 'vitest'
import {
  type BreakerEvent,
  type ChangeEvent,
  type CompleteMessage,
  type Context,
  Mesh,
  Outcome,
  type PickMessage,
  TimeoutError,
} from '../../ts/index.js'
import { opened } from '../support/mesh.js'

const never = (): Promise<never> => new Promise(() => {})
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

describe('serving and asking', () => {
  it('answers from synchronous and asynchronous handlers, with the body and the context they were sent', async () => {
    const mesh = await opened()
    let seen: Context | undefined
    mesh.service('echo', (body: unknown, ctx) => {
      seen = ctx
      return body
    })
    mesh.service('later', async (body: number) => body * 2)
    const body = { same: 'object' }
    expect(await mesh.request('echo', body, { key: 'customer-7', metadata: { trace: 'x' }, timeoutMs: 800 })).toBe(body)
    expect(seen).toMatchObject({
      service: 'echo',
      key: 'customer-7',
      metadata: { trace: 'x' },
      attempt: 1,
      aborted: false,
    })
    expect(seen?.mesh).toBe(mesh)
    expect(seen?.remainingMs).toBeGreaterThan(0)
    expect(seen?.remainingMs).toBeLessThanOrEqual(800)
    expect(await mesh.request('later', 21)).toBe(42)
    expect(await mesh.request('echo')).toBeUndefined()
  })

  it("rejects with the handler's own error", async () => {
    const mesh = await opened()
    const own = new RangeError('too far')
    mesh.service('sync', () => {
      throw own
    })
    mesh.service('async', async () => {
      throw own
    })
    await expect(mesh.request('sync')).rejects.toBe(own)
    await expect(mesh.request('async')).rejects.toBe(own)
  })

  it('tells an unknown service from one without an instance, and sees changes at once', async () => {
    const mesh = await opened()
    await expect(mesh.request('nobody')).rejects.toMatchObject({
      code: 'LM_NOT_FOUND',
      field: 'service',
      outcome: 'not-delivered',
    })
    const first = mesh.service('here', () => 'first')
    expect(await mesh.request('here')).toBe('first')
    first.close()
    first.close()
    await expect(mesh.request('here')).rejects.toMatchObject({
      code: 'LM_NO_INSTANCE',
      retryable: true,
      outcome: 'not-delivered',
    })
    mesh.service('here', () => 'second')
    expect(await mesh.request('here')).toBe('second')
  })

  it('balances over instances and keeps a key on one of them', async () => {
    const mesh = await opened()
    for (const instance of [0, 1, 2]) mesh.service('who', () => instance, { policy: { balancer: 'round-robin' } })
    const found = await Promise.all(Array.from({ length: 30 }, () => mesh.request<number>('who')))
    expect([0, 1, 2].map((instance) => found.filter((one) => one === instance).length)).toEqual([10, 10, 10])
    const keyed = await Promise.all(
      Array.from({ length: 30 }, () => mesh.request<number>('who', 0, { key: 'customer-7' })),
    )
    expect(new Set(keyed).size).toBe(1)
  })

  it('returns to zero requests in flight, whatever happened', async () => {
    const mesh = await opened()
    mesh.service(
      'mixed',
      async (body: number) => {
        if (body % 3 === 0) throw new Error('no')
        await turn()
        return body
      },
      { policy: { breaker: { enabled: false } } },
    )
    await Promise.allSettled(Array.from({ length: 100 }, (_, index) => mesh.request('mixed', index)))
    expect(mesh.services()[0]?.instances[0]).toMatchObject({ inFlight: 0, picked: 100, succeeded: 66, failed: 34 })
  })
})

describe('deadlines and cancellation', () => {
  it('stops waiting at the deadline, and tells the handler', async () => {
    const mesh = await opened()
    let reason: unknown
    mesh.service('slow', (_body, ctx) => {
      ctx.signal.addEventListener('abort', () => {
        reason = ctx.signal.reason
      })
      return never()
    })
    const error = await mesh.request('slow', 0, { timeoutMs: 20 }).catch((caught: unknown) => caught)
    expect(error).toBeInstanceOf(TimeoutError)
    expect(error).toMatchObject({ code: 'LM_DEADLINE_EXCEEDED', outcome: 'unknown', retryable: true })
    expect(reason).toBe(error)
    expect(mesh.services()[0]?.instances[0]).toMatchObject({ inFlight: 0, failed: 1 })
  })

  it("uses the service's own deadline by default", async () => {
    const mesh = await opened()
    mesh.service('slow', never, { policy: { timeoutMs: 15 } })
    await expect(mesh.request('slow')).rejects.toThrow(/15 ms/)
  })

  it('passes what is left of the deadline, and the cancellation, to nested requests', async () => {
    const mesh = await opened()
    let inner: Context | undefined
    const begun = new Promise<void>((resolve) => {
      mesh.service('inner', (_body, ctx) => {
        inner = ctx
        resolve()
        return never()
      })
    })
    let nested: Promise<unknown> | undefined
    mesh.service('outer', (_body, ctx) => {
      nested = ctx.request('inner', 0, { timeoutMs: 60_000 })
      nested.catch(() => {})
      return nested
    })
    const controller = new AbortController()
    const request = mesh.request('outer', 0, { timeoutMs: 700, signal: controller.signal })
    await begun
    expect(inner?.remainingMs).toBeLessThanOrEqual(700)
    const stopped = new Promise((resolve) => inner?.signal.addEventListener('abort', resolve))
    controller.abort('enough')
    await expect(request).rejects.toMatchObject({ code: 'LM_CANCELLED', cause: 'enough' })
    await expect(nested).rejects.toMatchObject({ code: 'LM_CANCELLED' })
    await stopped
  })

  it('does not start what was cancelled before', async () => {
    const mesh = await opened()
    let ran = false
    mesh.service('run', () => {
      ran = true
    })
    await expect(mesh.request('run', 0, { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'LM_CANCELLED',
      outcome: 'not-delivered',
    })
    expect(ran).toBe(false)
  })

  it('gives a late signal its reason', async () => {
    const mesh = await opened()
    let ctx: Context | undefined
    mesh.service('slow', (_body, context) => {
      ctx = context
      return never()
    })
    await mesh.request('slow', 0, { timeoutMs: 10 }).catch(() => {})
    expect(ctx?.aborted).toBe(true)
    expect(ctx?.signal.aborted).toBe(true)
    expect(ctx?.signal.reason).toBeInstanceOf(TimeoutError)
  })
})

describe('limits, queues and retries', () => {
  it('queues what does not fit, in order, and refuses what does not fit the queue', async () => {
    const mesh = await opened()
    const order: number[] = []
    const gates: (() => void)[] = []
    mesh.service(
      'narrow',
      (body: number) =>
        new Promise<number>((resolve) => {
          order.push(body)
          gates.push(() => resolve(body))
        }),
      { policy: { concurrency: 1, queueLimit: 2 } },
    )
    const requests = [1, 2, 3].map((body) => mesh.request<number>('narrow', body))
    await expect(mesh.request('narrow', 4)).rejects.toMatchObject({
      code: 'LM_QUEUE_FULL',
      name: 'SaturatedError',
      outcome: 'not-delivered',
    })
    expect(order).toEqual([1])
    for (let served = 0; served < 3; served++) {
      gates[served]?.()
      expect(await requests[served]).toBe(served + 1)
      await turn()
    }
    expect(order).toEqual([1, 2, 3])
  })

  it('frees the place of a request that gave up while it waited', async () => {
    const mesh = await opened()
    const gates: (() => void)[] = []
    mesh.service('narrow', (body) => new Promise((resolve) => gates.push(() => resolve(body))), {
      policy: { concurrency: 1, queueLimit: 1 },
    })
    const first = mesh.request('narrow', 1)
    const controller = new AbortController()
    const second = mesh.request('narrow', 2, { signal: controller.signal })
    controller.abort()
    await expect(second).rejects.toMatchObject({ code: 'LM_CANCELLED', outcome: 'not-delivered' })
    const third = mesh.request('narrow', 3)
    gates[0]?.()
    expect(await first).toBe(1)
    await turn()
    gates[1]?.()
    expect(await third).toBe(3)
  })

  it('says at once that it is saturated where nothing may wait', async () => {
    const mesh = await opened()
    mesh.service('narrow', never, { policy: { concurrency: 1, queueLimit: 0 } })
    mesh.request('narrow').catch(() => {})
    await expect(mesh.request('narrow')).rejects.toMatchObject({ name: 'SaturatedError', retryable: true })
  })

  it('repeats only what is idempotent, on failure, and counts the attempts', async () => {
    const mesh = await opened()
    const attempts: number[] = []
    const flaky = (_body: unknown, ctx: Context): string => {
      attempts.push(ctx.attempt)
      if (ctx.attempt < 3) throw new Error('flaky')
      return 'done'
    }
    mesh.service('plain', flaky)
    mesh.service('safe', flaky, { idempotent: true })
    await expect(mesh.request('plain')).rejects.toThrow('flaky')
    expect(attempts).toEqual([1])
    expect(await mesh.request('safe')).toBe('done')
    expect(attempts).toEqual([1, 1, 2, 3])
    expect(await mesh.request('plain', 0, { idempotent: true })).toBe('done')
    await expect(mesh.request('safe', 0, { retries: 1 })).rejects.toThrow('flaky')
    await expect(mesh.request('safe', 0, { idempotent: false })).rejects.toThrow('flaky')
    expect(attempts).toEqual([1, 1, 2, 3, 1, 2, 3, 1, 2, 1])
  })

  it('does not repeat an error that says it is no use', async () => {
    const mesh = await opened()
    let runs = 0
    mesh.service(
      'final',
      () => {
        runs++
        throw Object.assign(new Error('gone'), { retryable: false })
      },
      { idempotent: true },
    )
    await expect(mesh.request('final')).rejects.toThrow('gone')
    expect(runs).toBe(1)
  })

  it('opens the breaker, says so to listeners, and refuses with the time to come back', async () => {
    const mesh = await opened()
    const events: BreakerEvent[] = []
    mesh.on('breaker', (event) => events.push(event))
    mesh.service(
      'broken',
      () => {
        throw new Error('no')
      },
      { policy: { breaker: { consecutiveFailures: 3 } } },
    )
    for (let index = 0; index < 3; index++) await mesh.request('broken').catch(() => {})
    const error = await mesh.request('broken').catch((caught: unknown) => caught)
    expect(error).toMatchObject({ code: 'LM_BREAKER_OPEN', name: 'NoInstanceError', outcome: 'not-delivered' })
    expect((error as { retryAfterMs: number }).retryAfterMs).toBeGreaterThan(0)
    expect(events).toMatchObject([{ service: 'broken', from: 'closed', to: 'open' }])
  })
})

describe('streams', () => {
  it('hands over items one by one, and lets the producer clean up when the consumer leaves', async () => {
    const mesh = await opened()
    let cleaned = false
    mesh.service('count', async function* (to: number) {
      try {
        for (let item = 0; item < to; item++) yield item
      } finally {
        cleaned = true
      }
    })
    const items: number[] = []
    for await (const item of mesh.stream<number>('count', 5)) items.push(item)
    expect(items).toEqual([0, 1, 2, 3, 4])
    cleaned = false
    for await (const item of mesh.stream<number>('count', 1_000_000)) if (item === 2) break
    expect(cleaned).toBe(true)
    expect(mesh.services()[0]?.instances[0]?.inFlight).toBe(0)
  })

  it('passes the error of the producer, and refuses a stream asked for as a request', async () => {
    const mesh = await opened()
    mesh.service('broken', async function* () {
      yield 1
      throw new TypeError('broken')
    })
    const items = mesh.stream('broken')
    expect(await items.next()).toEqual({ value: 1, done: false })
    await expect(items.next()).rejects.toThrow(TypeError)
    expect(await items.next()).toEqual({ value: undefined, done: true })
    await expect(mesh.request('broken')).rejects.toMatchObject({ code: 'LM_INVALID_ARGUMENT' })
    expect(mesh.services()[0]?.instances[0]?.inFlight).toBe(0)
  })

  it('costs nothing when it is never read', async () => {
    const mesh = await opened()
    mesh.service('count', async function* () {
      yield 1
    })
    mesh.stream('count')
    const left = mesh.stream('count')
    await left.return?.()
    expect(await left.next()).toEqual({ value: undefined, done: true })
    expect(mesh.services()[0]?.instances[0]?.picked).toBe(0)
  })
})

describe('your own transport', () => {
  it('picks among addresses, learns from what you say, and refuses a ticket twice', async () => {
    const mesh = await opened()
    mesh.register('payments', { address: 'http://10.0.0.1:80', weight: 3, tags: ['eu'] })
    mesh.register('payments', { address: 'http://10.0.0.2:80' })
    const route = mesh.route('payments')
    const ticket = route.pick('customer-7')
    const { address } = route.instance(ticket)
    expect(address).toMatch(/^http:\/\/10\.0\.0\.[12]:80$/)
    expect(route.explain(ticket)).toMatchObject({ ticket, service: 'payments' })
    route.complete(ticket, Outcome.Ok, 1_500)
    expect(() => route.complete(ticket, Outcome.Ok)).toThrow(
      expect.objectContaining({ code: 'LM_STALE_TICKET', field: 'ticket' }),
    )
    expect(() => route.instance(ticket)).toThrow(expect.objectContaining({ code: 'LM_STALE_TICKET' }))
    for (let index = 0; index < 20; index++) {
      const again = route.pick('customer-7')
      expect(route.instance(again).address).toBe(address)
      route.complete(again, Outcome.Ok)
    }
    await expect(mesh.request('payments')).rejects.toMatchObject({
      code: 'LM_INVALID_ARGUMENT',
      message: expect.stringContaining('mesh.route'),
    })
    expect(mesh.services()[0]?.instances.map((instance) => instance.inFlight)).toEqual([0, 0])
  })

  it('waits for a slot', async () => {
    const mesh = await opened()
    mesh.register('one', { address: 'http://10.0.0.1', policy: { concurrency: 1, queueLimit: 5 } })
    const route = mesh.route('one')
    const first = route.pick()
    expect(() => route.pick()).toThrow(expect.objectContaining({ code: 'LM_SATURATED' }))
    const second = route.wait()
    route.complete(first, Outcome.Ok)
    const ticket = await second
    expect(route.instance(ticket).address).toBe('http://10.0.0.1')
    const late = route.wait({ timeoutMs: 20 })
    await expect(late).rejects.toMatchObject({ code: 'LM_DEADLINE_EXCEEDED', outcome: 'not-delivered' })
    const controller = new AbortController()
    const left = route.wait({ signal: controller.signal })
    controller.abort()
    await expect(left).rejects.toMatchObject({ code: 'LM_CANCELLED' })
    route.complete(ticket, Outcome.Ok)
    expect(mesh.services()[0]?.instances[0]?.inFlight).toBe(0)
  })

  it('refuses a second instance of one address', async () => {
    const mesh = await opened()
    mesh.register('payments', { address: 'http://10.0.0.1' })
    expect(() => mesh.register('payments', { address: 'http://10.0.0.1' })).toThrow(
      expect.objectContaining({ code: 'LM_DUPLICATE' }),
    )
  })
})

describe('looking around', () => {
  it('discovers, lists, renders metrics and reports changes', async () => {
    const mesh = await opened({ zone: 'eu-1' })
    const changes: ChangeEvent[] = []
    const stop = mesh.on('change', (event) => changes.push(event))
    mesh.service('orders.create', () => 1, { tags: ['eu'], version: '1.4.0', weight: 2 })
    mesh.service('orders.get', () => 1)
    expect(
      mesh
        .discover({ prefix: 'orders.' })
        .results.map((one) => one.service)
        .sort(),
    ).toEqual(['orders.create', 'orders.get'])
    expect(mesh.discover({ tags: { all: ['eu'] } }).results.map((one) => one.service)).toEqual(['orders.create'])
    expect(mesh.services().map((one) => one.name)).toEqual(['orders.create', 'orders.get'])
    expect(mesh.services()[0]?.instances[0]).toMatchObject({
      version: '1.4.0',
      weight: 2,
      tags: ['eu'],
      thread: mesh.threadId,
    })
    await turn()
    expect(changes.map((one) => one.kind)).toContain('service-added')
    stop()
    const seen = changes.length
    mesh.service('late', () => 1)
    await turn()
    expect(changes.length).toBe(seen)
    mesh.metrics.counter('jobs_total', { kind: 'a' }, 'Jobs.').add(3)
    mesh.metrics.gauge('depth').set(-2)
    mesh.metrics.histogram('size').record(10)
    const text = await mesh.metrics.render()
    expect(text).toContain('jobs_total{kind="a"} 3')
    expect(() => JSON.parse('null')).not.toThrow()
    expect(JSON.parse(await mesh.metrics.render('json'))).toBeTypeOf('object')
  })

  it('publishes picks and completions while somebody listens', async () => {
    const mesh = await opened()
    const picks: PickMessage[] = []
    const completions: CompleteMessage[] = []
    const onPick = (message: unknown): number => picks.push(message as PickMessage)
    const onComplete = (message: unknown): number => completions.push(message as CompleteMessage)
    mesh.service('work', () => 1)
    subscribe('linkmesh:pick', onPick)
    subscribe('linkmesh:complete', onComplete)
    await mesh.request('work', 0, { key: 'k' })
    unsubscribe('linkmesh:pick', onPick)
    unsubscribe('linkmesh:complete', onComplete)
    await mesh.request('work')
    expect(picks).toMatchObject([{ service: 'work', attempt: 1, key: 'k', thread: mesh.threadId }])
    expect(completions).toMatchObject([{ service: 'work', outcome: 'Ok', ticket: picks[0]?.ticket }])
    expect(mesh.explain(picks[0]?.ticket as number)).toMatchObject({ service: 'work', chosen: picks[0]?.instance })
  })

  it('says which backend runs, and why', async () => {
    const mesh = await opened()
    expect(['native', 'fallback']).toContain(mesh.backend.kind)
    expect(mesh.backend.reason.length).toBeGreaterThan(5)
    expect(mesh.capabilities().includes('workers')).toBe(mesh.backend.kind === 'native')
  })
})

describe('ends', () => {
  it('lets requests under way finish, refuses new ones, and closes once', async () => {
    const mesh = await opened()
    let finish: (() => void) | undefined
    mesh.service(
      'slow',
      () =>
        new Promise((resolve) => {
          finish = () => resolve('done')
        }),
    )
    const request = mesh.request('slow')
    const closing = mesh.close()
    expect(mesh.close()).toBe(closing)
    await expect(mesh.request('slow')).rejects.toMatchObject({ outcome: 'not-delivered' })
    finish?.()
    expect(await request).toBe('done')
    await closing
    expect(mesh.closed).toBe(true)
    await expect(mesh.request('slow')).rejects.toMatchObject({ code: 'LM_CLOSED' })
    expect(() => mesh.services()).toThrow(expect.objectContaining({ code: 'LM_CLOSED' }))
    expect(() => mesh.service('x', () => 1)).toThrow(expect.objectContaining({ code: 'LM_CLOSED' }))
  })

  it('ends what does not finish in time', async () => {
    const mesh = await opened()
    let aborted = false
    mesh.service('stuck', (_body, ctx) => {
      ctx.signal.addEventListener('abort', () => {
        aborted = true
      })
      return never()
    })
    const request = mesh.request('stuck')
    await Promise.all([mesh.close({ graceMs: 10 }), expect(request).rejects.toMatchObject({ code: 'LM_CLOSED' })])
    expect(aborted).toBe(true)
  })

  it('closes by `await using`, and frees its name', async () => {
    const name = 'used'
    {
      await using mesh = await Mesh.open({ name })
      expect(mesh.closed).toBe(false)
      await expect(Mesh.open({ name })).rejects.toMatchObject({ code: 'LM_DUPLICATE' })
    }
    await (await Mesh.open({ name })).close()
  })

  it('drains one instance while the other serves on', async () => {
    const mesh = await opened()
    let finish: (() => void) | undefined
    const old = mesh.service(
      'roll',
      () =>
        new Promise((resolve) => {
          finish = () => resolve('old')
        }),
    )
    const first = mesh.request('roll')
    mesh.service('roll', () => 'new')
    const drained = old.drain()
    expect(await Promise.all([1, 2, 3].map(() => mesh.request('roll')))).toEqual(['new', 'new', 'new'])
    finish?.()
    expect(await first).toBe('old')
    await drained
    old.close()
    expect(await mesh.request('roll')).toBe('new')
  })

  it('gives up attaching to what nobody opens', async () => {
    await expect(Mesh.attach({ name: 'nobody-opens-this', timeoutMs: 30 })).rejects.toMatchObject({
      code: 'LM_DEADLINE_EXCEEDED',
    })
  })
})
