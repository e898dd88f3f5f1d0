/** Classes of service, rejections with a time and hedging as a caller of the mesh sees them. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { describe, expect, it } from 'vitest'
import { type BackpressureEvent, Mesh, Outcome, type PickMessage, type QosClass } from '../../ts/index.js'
import { opened } from '../support/mesh.js'

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** A handler that answers when it is told to. */
function gate() {
  const open: (() => void)[] = []
  const served: unknown[] = []
  return {
    served,
    handler: (body: unknown) => {
      served.push(body)
      return new Promise((resolve) => open.push(() => resolve(body)))
    },
    /** Answers the request that waits longest. */
    answer: async () => {
      open.shift()?.()
      await turn()
    },
  }
}

describe('classes of service', () => {
  it('serves waiting requests by class, and sheds the lowest with a word on when to come back', async () => {
    const mesh = await opened()
    const { served, handler, answer } = gate()
    mesh.service('work', handler, { policy: { concurrency: 1, queueLimit: 2, backpressure: 'shed-lowest' } })
    const first = mesh.request('work', 'first')
    const low = mesh.request('work', 'low')
    const fast = mesh.request('work', 'fast', { qos: 'low-latency' })
    const shed = expect(low).rejects.toMatchObject({ code: 'LM_QUEUE_FULL', retryAfterMs: expect.any(Number) })
    const critical = mesh.request('work', 'critical', { qos: 'critical' })
    await shed
    for (let i = 0; i < 3; i++) await answer()
    expect(await Promise.all([first, critical, fast])).toEqual(['first', 'critical', 'fast'])
    expect(served).toEqual(['first', 'critical', 'fast'])
    expect(mesh.services()[0]?.shed).toEqual({ 'best-effort': 1 })
  })

  it('is named by request, by route and by the policy, and by nothing else', async () => {
    const mesh = await opened()
    mesh.service('work', () => 1, { policy: { qos: { class: 'high-reliability' } } })
    const route = mesh.route('work')
    const qosOf = (ticket: number) => mesh.explain(ticket)?.qos
    expect(qosOf(route.pick())).toBe('high-reliability')
    expect(qosOf(route.pick('a-key', { qos: 'critical' }))).toBe('critical')
    expect(qosOf(await route.wait({ qos: 'best-effort' }))).toBe('best-effort')
    const tickets: number[] = []
    const onPick = (message: unknown) => tickets.push((message as PickMessage).ticket)
    subscribe('linkmesh:pick', onPick)
    await mesh.request('work', undefined, { qos: 'low-latency' })
    unsubscribe('linkmesh:pick', onPick)
    expect(tickets.map(qosOf)).toEqual(['low-latency'])
    for (const qos of ['vip', 5, null, 'constructor']) {
      const options = { qos: qos as QosClass }
      await expect(mesh.request('work', undefined, options)).rejects.toMatchObject({ field: 'qos' })
      expect(() => route.pick(undefined, options)).toThrow(/qos must be one of best-effort/)
    }
  })

  it('is inherited by nested requests as far as a caller named it', async () => {
    const mesh = await opened()
    const picks = new Map<string, QosClass | undefined>()
    const onPick = ({ service, ticket }: PickMessage) => picks.set(service, mesh.explain(ticket)?.qos)
    mesh.service('innermost', (_, ctx) => ctx.qos, { policy: { qos: { class: 'high-throughput' } } })
    mesh.service('inner', async (_, ctx) => [ctx.qos, await ctx.request('innermost')])
    mesh.service('outer', (named: QosClass | undefined, ctx) =>
      ctx.request('inner', null, named === undefined ? {} : { qos: named }),
    )
    subscribe('linkmesh:pick', onPick as (message: unknown) => void)
    expect(await mesh.request('outer', undefined, { qos: 'critical' })).toEqual(['critical', 'critical'])
    expect([...picks]).toEqual([
      ['outer', 'critical'],
      ['inner', 'critical'],
      ['innermost', 'critical'],
    ])
    expect(await mesh.request('outer', 'low-latency', { qos: 'critical' })).toEqual(['low-latency', 'low-latency'])
    expect(await mesh.request('outer')).toEqual([undefined, undefined])
    expect(picks.get('innermost')).toBe('high-throughput')
    unsubscribe('linkmesh:pick', onPick as (message: unknown) => void)
  })

  it('tells listeners when a queue fills and when it has emptied', async () => {
    const mesh = await opened()
    const { handler, answer } = gate()
    const policy = { concurrency: 1, queueLimit: 4, watermarks: { high: 0.5, low: 0.25 } }
    mesh.service('work', handler, { policy })
    const events: BackpressureEvent[] = []
    const published: unknown[] = []
    const onPublish = (message: unknown) => published.push(message)
    mesh.on('backpressure', (event) => events.push(event))
    subscribe('linkmesh:backpressure', onPublish)
    const requests = Array.from({ length: 4 }, (_, i) => mesh.request('work', i))
    await turn()
    expect(events).toMatchObject([{ service: 'work', level: 'high', queued: 2, limit: 4 }])
    for (let i = 0; i < 4; i++) await answer()
    expect(await Promise.all(requests)).toEqual([0, 1, 2, 3])
    expect(events.map((event) => event.level)).toEqual(['high', 'low'])
    expect(published).toEqual(events)
    unsubscribe('linkmesh:backpressure', onPublish)
  })
})

describe('an instance that says when to come back', () => {
  const rejected = [
    ['an error with a status', () => Object.assign(new Error('busy'), { status: 429, retryAfterMs: 30_000 })],
    ['an error without one', () => Object.assign(new Error('busy'), { retryAfterMs: 30_000 })],
  ] as const
  it.each(rejected)('is left alone for so long: %s', async (_, error) => {
    const mesh = await Mesh.open({ name: `rejects-${Math.random()}`, manualClock: true })
    let healthy = false
    mesh.service(
      'work',
      () => {
        if (!healthy) throw error()
        return 'done'
      },
      { policy: { backpressure: 'reject' } },
    )
    await expect(mesh.request('work')).rejects.toThrow('busy')
    healthy = true
    mesh.advance(29_999_000)
    await expect(mesh.request('work')).rejects.toMatchObject({ code: 'LM_SATURATED', retryAfterMs: 1 })
    mesh.advance(1_000)
    expect(await mesh.request('work')).toBe('done')
    await mesh.close()
  })

  it('is said by a route, too, and only with a rejection', async () => {
    const mesh = await opened({ manualClock: true })
    mesh.register('far', { address: 'http://10.0.0.1:80', policy: { backpressure: 'reject' } })
    const route = mesh.route('far')
    route.complete(route.pick(), Outcome.Rejected, -1, { retryAfterMs: 5_000 })
    mesh.advance(4_999_000)
    expect(() => route.pick()).toThrow(expect.objectContaining({ code: 'LM_SATURATED', retryAfterMs: 1 }))
    mesh.advance(1_000)
    const ticket = route.pick()
    const wrong = () => route.complete(ticket, Outcome.Ok, -1, { retryAfterMs: 1 })
    expect(wrong).toThrow(expect.objectContaining({ field: 'retryAfterMs' }))
    for (const retryAfterMs of [-1, Number.NaN, '5' as unknown as number])
      expect(() => route.complete(ticket, Outcome.Rejected, -1, { retryAfterMs })).toThrow(
        expect.objectContaining({ field: 'retryAfterMs' }),
      )
    route.complete(ticket, Outcome.Ok)
  })
})

describe('hedging', () => {
  const policy = { balancer: 'round-robin', hedge: { enabled: true, budget: 1, minSamples: 10 } } as const
  const quick = async (mesh: Mesh, requests = 40) => {
    for (let i = 0; i < requests; i++) await mesh.request('work', 'quick')
  }

  /** Two instances; the first is stuck in requests that say so until their signal fires. */
  const stuck = async () => {
    const mesh = await opened()
    const aborted: string[] = []
    const seen: string[] = []
    const serve = (name: string, isStuck: boolean) =>
      mesh.service(
        'work',
        (body, ctx) => {
          if (body === 'quick') return name
          seen.push(name)
          if (!isStuck) return name
          return new Promise((_, reject) => {
            ctx.signal.addEventListener('abort', () => {
              aborted.push(name)
              reject(ctx.signal.reason)
            })
          })
        },
        { policy, idempotent: true },
      )
    serve('slow', true)
    serve('fast', false)
    await quick(mesh)
    return { mesh, aborted, seen }
  }
  /** So many that both instances are asked first at least once. */
  const BOTH = 2

  it('asks a second instance, takes the first answer and cancels the other by its signal', async () => {
    const { mesh, aborted, seen } = await stuck()
    const options = { qos: 'critical', timeoutMs: 30_000 } as const
    for (let i = 0; i < BOTH; i++) expect(await mesh.request('work', 'x', options)).toBe('fast')
    expect(aborted).toEqual(['slow'])
    expect(seen.filter((name) => name === 'slow')).toHaveLength(1)
    expect(seen.filter((name) => name === 'fast')).toHaveLength(BOTH)
    const [info] = mesh.services()
    expect(info?.hedges).toBe(1)
    expect(info?.instances.map(({ inFlight }) => inFlight)).toEqual([0, 0])
    const metrics = await mesh.metrics.render('prometheus')
    expect(metrics).toContain('linkmesh_hedges_total{service="work"} 1')
    expect(metrics).toContain('linkmesh_hedges_won_total{service="work"} 1')
  })

  it.each([
    ['of another class', { qos: 'high-reliability' }],
    ['of no class', {}],
    ['that may not be repeated', { qos: 'critical', idempotent: false }],
    ['with a key, whose order a second instance would break', { qos: 'critical', key: 'a' }],
  ] as const)('is not for a request %s', async (_, options) => {
    const { mesh, seen } = await stuck()
    // Long enough for a hedge after a percentile of microseconds; the stuck ones end by their own deadline.
    const asked = Array.from({ length: BOTH }, () => mesh.request('work', 'x', { ...options, timeoutMs: 100 }))
    await Promise.allSettled(asked)
    expect(seen).toHaveLength(BOTH)
    expect(mesh.services()[0]?.hedges).toBe(0)
  })

  it('ends with the caller: neither handler goes on', async () => {
    const mesh = await opened()
    const aborted: string[] = []
    let second: (() => void) | undefined
    const both = new Promise<void>((resolve) => {
      second = resolve
    })
    let running = 0
    for (const name of ['a', 'b'])
      mesh.service(
        'work',
        (body, ctx) => {
          if (body === 'quick') return name
          if (++running === 2) second?.()
          return new Promise((_, reject) => {
            ctx.signal.addEventListener('abort', () => {
              aborted.push(name)
              reject(ctx.signal.reason)
            })
          })
        },
        { policy, idempotent: true },
      )
    await quick(mesh)
    const controller = new AbortController()
    const request = mesh.request('work', 'x', { qos: 'low-latency', signal: controller.signal, timeoutMs: 30_000 })
    await both
    controller.abort()
    await expect(request).rejects.toMatchObject({ code: 'LM_CANCELLED' })
    expect(aborted.sort()).toEqual(['a', 'b'])
    expect(mesh.services()[0]?.instances.map(({ inFlight }) => inFlight)).toEqual([0, 0])
  })
})
