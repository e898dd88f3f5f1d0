import { once } from 'node:events'
import { afterEach, describe, expect, it } from 'vitest'
import { type StartWorkersOptions, startWorkers, type Workers } from '../../ts/adapters/worker.js'
import { type LinkmeshError, Mesh, RemoteError, SaturatedError } from '../../ts/index.js'
import { NO_NATIVE } from '../support/native.js'

const file = new URL('./fixtures/service.mjs', import.meta.url)
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

describe.skipIf(NO_NATIVE !== '')(`threads${NO_NATIVE === '' ? '' : ` (skipped: ${NO_NATIVE})`}`, () => {
  let mesh: Mesh
  let workers: Workers
  let names = 0

  async function start(options: Partial<StartWorkersOptions> = {}, own: object = {}): Promise<void> {
    mesh = await Mesh.open({ name: `threads-${++names}`, ...own })
    workers = startWorkers(mesh, { file, count: 1, services: 4, ...options })
    await workers.ready
  }
  afterEach(async () => {
    await workers.terminate()
    await mesh.close({ graceMs: 0 })
  })

  /** Resolves with the next message of a worker that has this field. */
  async function told(field: string, index = 0): Promise<Record<string, unknown>> {
    for (;;) {
      const [message] = (await once(workers.worker(index), 'message')) as [Record<string, unknown>]
      if (field in message) return message
    }
  }

  it('carries requests and replies of every kind and size, each its own', async () => {
    await start()
    const bodies: unknown[] = [
      undefined,
      null,
      0,
      -1.5,
      '',
      'text',
      'ü😀',
      '\ud800',
      { a: [1, { b: null }] },
      true,
      'x'.repeat(2_000_000),
      new Uint8Array(0),
      new Uint8Array(700_000).fill(7),
      Buffer.from('abc'),
    ]
    expect(await Promise.all(bodies.map((body) => mesh.request('echo', body)))).toEqual(bodies)
    // More than the lane holds at once, and as many as the service's limit and queue take.
    for (let round = 0; round < 20; round++) {
      const many = Array.from({ length: 1_000 }, (_, index) => ({ round, index, pad: 'x'.repeat(index * 3) }))
      expect(await Promise.all(many.map((body) => mesh.request('echo', body)))).toEqual(many)
    }
    expect(mesh.services().flatMap((service) => service.instances.map((instance) => instance.inFlight))).toEqual([
      0, 0, 0, 0,
    ])
  })

  it('tells the handler the key, the metadata and what is left of the time; nested requests reach on', async () => {
    await start()
    const reply = await mesh.request<Record<string, unknown>>(
      'work',
      { do: 'context' },
      { key: 'k', metadata: { trace: '7' }, timeoutMs: 900 },
    )
    expect(reply).toMatchObject({
      key: 'k',
      metadata: { trace: '7' },
      attempt: 1,
      threadId: workers.worker(0).threadId,
    })
    expect(reply.remainingMs).toBeGreaterThan(0)
    expect(reply.remainingMs).toBeLessThanOrEqual(900)
    expect(await mesh.request('work', { do: 'nested', body: [1] })).toEqual([1])
  })

  it('hands the class of service on from thread to thread, and leaves the window of a stream alone', async () => {
    await start()
    mesh.service('class-of', (_, ctx) => ctx.qos)
    const nested = { do: 'call', service: 'class-of' }
    expect(await mesh.request('work', nested, { qos: 'critical' })).toBe('critical')
    expect(await mesh.request('work', nested, { qos: 'best-effort' })).toBe('best-effort')
    expect(await mesh.request('work', nested)).toBeUndefined()
    const items: unknown[] = []
    for await (const item of mesh.stream('count', 5_000, { qos: 'critical', window: 4_096 })) items.push(item)
    expect(items).toHaveLength(5_000)
  })

  it('rebuilds errors as what they were', async () => {
    await start()
    await expect(mesh.request('work', { do: 'throw' })).rejects.toThrow(RangeError)
    const refused = await mesh.request('work', { do: 'refuse' }).catch((error: unknown) => error)
    expect(refused).toBeInstanceOf(RemoteError)
    expect(refused).toMatchObject({
      name: 'PaymentRefused',
      message: 'no funds',
      remoteCode: 'E_FUNDS',
      data: { amount: 12 },
    })
    expect((refused as Error).stack).toContain('service.mjs')
    const busy = await mesh.request('work', { do: 'busy' }).catch((error: unknown) => error)
    expect(busy).toBeInstanceOf(SaturatedError)
    expect(busy).toMatchObject({ code: 'LM_SATURATED', retryAfterMs: 9 })
  })

  it.each([[undefined], [null], [7], ['text'], [{ a: 1 }], [[]]])(
    'a handler that throws %j fails, and its worker goes on',
    async (value) => {
      await start()
      const error = await mesh.request('work', { do: 'throwValue', value }).catch((thrown: unknown) => thrown)
      expect(error).toBeInstanceOf(RemoteError)
      // JSON has no undefined.
      expect((error as RemoteError).data).toEqual(value === undefined ? {} : { value })
      expect(await mesh.request('echo', 'still here')).toBe('still here')
      expect(mesh.services().find(({ name }) => name === 'work')?.instances[0]).toMatchObject({
        failed: 1,
        inFlight: 0,
      })
    },
  )

  it('cancels over there by signal and by deadline', async () => {
    await start()
    const controller = new AbortController()
    const request = mesh.request('work', { do: 'hang', id: 1 }, { signal: controller.signal })
    await told('hanging')
    const aborted = told('aborted')
    controller.abort()
    await expect(request).rejects.toMatchObject({ code: 'LM_CANCELLED', outcome: 'unknown' })
    expect(await aborted).toEqual({ aborted: 1 })
    const expired = told('aborted')
    await expect(mesh.request('work', { do: 'hang', id: 2 }, { timeoutMs: 30 })).rejects.toMatchObject({
      code: 'LM_DEADLINE_EXCEEDED',
    })
    expect(await expired).toEqual({ aborted: 2 })
  })

  it('streams replies in order and stops the producer when the consumer leaves', async () => {
    await start()
    let expected = 0
    const ended = told('streamEnded')
    for await (const item of mesh.stream<number>('count', 10_000)) expect(item).toBe(expected++)
    expect(expected).toBe(10_000)
    expect(await ended).toEqual({ streamEnded: true, aborted: false })
    const left = told('streamEnded')
    for await (const item of mesh.stream<number>('count', 1e9)) if (item === 100) break
    expect(await left).toEqual({ streamEnded: true, aborted: true })
    await expect(mesh.stream('count', -1).next()).rejects.toThrow(TypeError)
  })

  it('learns at once when a worker dies: unknown for what it had begun, not-delivered for the rest', async () => {
    await start({ workerData: { policy: { retry: { limit: 0 } } } })
    const begun = mesh.request('work', { do: 'block', id: 1 })
    await told('blocked')
    const waiting = Array.from({ length: 10 }, () => mesh.request('work', 'behind'))
    await turn()
    const settled = Promise.allSettled([begun, ...waiting])
    await workers.terminate()
    const outcomes = (await settled).map((one) =>
      one.status === 'rejected' ? (one.reason as LinkmeshError).outcome : 'fulfilled',
    )
    expect(outcomes).toEqual(['unknown', ...Array.from({ length: 10 }, () => 'not-delivered')])
    await expect(mesh.request('work')).rejects.toMatchObject({ code: 'LM_NO_INSTANCE' })
  })

  it('retries elsewhere what is safe, so that a killed worker loses nothing', async () => {
    await start({ count: 3, workerData: { idempotent: true, policy: { retry: { budget: 1, minPerSecond: 1_000 } } } })
    const requests = Array.from({ length: 600 }, (_, index) => mesh.request('work', { index }))
    await Promise.race(requests)
    await workers.terminate(1)
    expect(await Promise.all(requests)).toEqual(Array.from({ length: 600 }, (_, index) => ({ index })))
    await workers.restart(1)
    const seen = new Set(await Promise.all(Array.from({ length: 60 }, () => mesh.request('who'))))
    expect(seen.size).toBe(3)
  })

  it('notices a worker that leaves by itself, and starts it again when asked to', async () => {
    await start({ restarts: 1 })
    const ended = new Promise((resolve) => mesh.on('thread-ended', resolve))
    await expect(mesh.request('work', { do: 'exit' }, { idempotent: false })).rejects.toMatchObject({
      code: 'LM_THREAD_ENDED',
      outcome: 'unknown',
    })
    await ended
    await new Promise<void>((resolve) => {
      const look = (): void => {
        if (mesh.services().every((service) => service.instances.length > 0)) resolve()
        else setImmediate(look)
      }
      look()
    })
    expect(await mesh.request('echo', 'again')).toBe('again')
    expect(workers.status()).toMatchObject([{ index: 0, alive: true, restarts: 1 }])
  })

  it('counts the first answer of a handler that answers twice, once, and sends nothing after it', async () => {
    await start({ file: new URL('./fixtures/twice.mjs', import.meta.url), services: 2 })
    const ways = ['promise', 'thenable', 'throwing', 'late']
    for (const way of ways) {
      // What came after the first answer would be taken for the next request's.
      const [answer, ...next] = await Promise.all([
        mesh.request('twice', way),
        ...[1, 2, 3].map((body) => mesh.request('echo', body)),
      ])
      expect([answer, ...next]).toEqual(['first', 1, 2, 3])
      expect(await mesh.request('echo', way)).toBe(way)
    }
    const [instance] = mesh.services().find(({ name }) => name === 'twice')?.instances ?? []
    expect(instance).toMatchObject({ inFlight: 0, succeeded: ways.length, failed: 0 })
    expect(workers.status()).toMatchObject([{ alive: true, restarts: 0 }])
  })

  it('answers the main thread and is answered by it: both directions at once', async () => {
    await start()
    mesh.service('main', (body) => ({ main: body }))
    const both = await Promise.all(
      Array.from({ length: 500 }, (_, index) =>
        index % 2 === 0 ? mesh.request('echo', index) : mesh.request('main', index),
      ),
    )
    expect(both).toEqual(Array.from({ length: 500 }, (_, index) => (index % 2 === 0 ? index : { main: index })))
  })

  it('shares one truth: limits count the requests of every thread', async () => {
    await start({ workerData: { policy: { concurrency: 2, queueLimit: 0 } } })
    const held = [1, 2].map((id) => mesh.request('work', { do: 'hang', id }, { timeoutMs: 2_000 }))
    await expect(mesh.request('work')).rejects.toBeInstanceOf(SaturatedError)
    for (const one of held) one.catch(() => {})
  })

  it('grants a free slot to a thread that waits for it', async () => {
    await start()
    const gates: (() => void)[] = []
    mesh.service('gate', (body) => new Promise((resolve) => gates.push(() => resolve(body))), {
      policy: { concurrency: 1, queueLimit: 4 },
    })
    const own = mesh.request('gate', 'main')
    const theirs = [1, 2].map((body) => mesh.request('work', { do: 'call', service: 'gate', body }))
    while (mesh.services().find((service) => service.name === 'gate')?.queued !== 2) await turn()
    for (let served = 0; served < 3; served++) {
      while (gates.length <= served) await turn()
      gates[served]?.()
    }
    expect(await own).toBe('main')
    expect(await Promise.all(theirs)).toEqual([1, 2])
  })

  it('lets workers end by themselves when the mesh is closed, and ends what they asked of it', async () => {
    await start()
    mesh.service('stuck', () => new Promise(() => {}))
    const asked = mesh.request('work', { do: 'call', service: 'stuck' })
    const ended = once(workers.worker(0), 'exit')
    while (mesh.services().find((service) => service.name === 'stuck')?.instances[0]?.inFlight !== 1) await turn()
    await Promise.all([mesh.close({ graceMs: 0 }), expect(asked).rejects.toMatchObject({ code: 'LM_CLOSED' })])
    expect(await ended).toEqual([0])
  })

  it('carries structured values by the v8 codec, and mixes codecs', async () => {
    await start({ workerData: { options: { codec: 'v8' } } }, { codec: 'v8' })
    const rich = { at: new Date(5), map: new Map([['a', new Set([1])]]), big: 7n }
    expect(await mesh.request('echo', rich)).toEqual(rich)
    await workers.terminate()
    workers = startWorkers(mesh, { file, services: 4, workerData: { options: { codec: 'json' } } })
    await workers.ready
    // Both ends know the built-in codecs, whichever each prefers.
    expect(await mesh.request('echo', { at: new Date(5) })).toEqual({ at: new Date(5).toJSON() })
  })

  it('wakes a sleeping worker however long it slept', async () => {
    await start({}, { pollWindowMs: 0 })
    for (let index = 0; index < 200; index++) expect(await mesh.request('echo', index)).toBe(index)
  })

  it('refuses options that make no sense', async () => {
    await start()
    expect(() => startWorkers(mesh, { file, count: 0 })).toThrow(expect.objectContaining({ field: 'options.count' }))
    expect(() => startWorkers(mesh, { file: 7 as never })).toThrow(expect.objectContaining({ field: 'options.file' }))
    expect(() => startWorkers(mesh, { file, conut: 2 } as never)).toThrow(
      expect.objectContaining({ field: 'options.conut' }),
    )
    await expect(
      startWorkers(mesh, { file: new URL('./fixtures/missing.mjs', import.meta.url) }).ready,
    ).rejects.toMatchObject({ code: 'LM_THREAD_ENDED' })
  })
})
