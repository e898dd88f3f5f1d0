import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Outcome } from '../../ts/binding/contract.js'
import type { LinkmeshError } from '../../ts/errors.js'
import type { Context } from '../../ts/mesh/context.js'
import { ReplyStream } from '../../ts/mesh/reply-stream.js'
import { Loop, type Thread } from '../support/loop.js'

const pair = (capacity?: number, options?: object): [Loop, Thread, Thread] => {
  const loop = new Loop(capacity)
  return [loop, loop.thread(1, options), loop.thread(2, options)]
}

const turns = async (count: number): Promise<void> => {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve))
}

const stream = <Item>(thread: Thread, body?: unknown, options?: object): ReplyStream<Item> =>
  new ReplyStream<Item>(thread.call('service', body, options, true))

describe('requests over lanes', () => {
  it('carries bodies, keys, metadata and attempts there and replies back', async () => {
    const [loop, caller, server] = pair()
    loop.serve(server, (body, ctx) => ({
      body,
      key: ctx.key,
      metadata: ctx.metadata,
      attempt: ctx.attempt,
      left: ctx.remainingMs,
    }))
    const reply = await caller.request(
      'service',
      { a: ['ü', 1] },
      { key: 'k-1', metadata: { trace: '7' }, timeoutMs: 900 },
    )
    expect(reply).toMatchObject({ body: { a: ['ü', 1] }, key: 'k-1', metadata: { trace: '7' }, attempt: 1 })
    const { left } = reply as { left: number }
    expect(left).toBeGreaterThan(0)
    expect(left).toBeLessThanOrEqual(900)
    expect(loop.outcomes).toEqual([Outcome.Ok])
  })

  it('answers every one of many concurrent requests of any size with its own body, in lanes that overflow', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 0, max: 6_000 }), { minLength: 1, maxLength: 120 }),
        fc.boolean(),
        async (sizes, slow) => {
          const [loop, caller, server] = pair(4_096)
          loop.serve(server, (body: Uint8Array) =>
            slow ? new Promise((resolve) => setImmediate(resolve, body)) : body,
          )
          const bodies = sizes.map((size, index) => Uint8Array.from({ length: size }, (_, at) => at + index))
          const replies = await Promise.all(bodies.map((body) => caller.request('service', body)))
          expect(replies).toEqual(bodies)
          expect(loop.blobs).toBe(0)
          expect(caller.dispatcher.outstanding).toBe(0)
          expect(server.dispatcher.active).toBe(0)
        },
      ),
      { numRuns: 40 },
    )
  })

  it('rebuilds what the handler threw, and completes as an error', async () => {
    const [loop, caller, server] = pair()
    loop.serve(server, () => {
      throw new RangeError('too far')
    })
    await expect(caller.request('service')).rejects.toThrow(RangeError)
    loop.serve(server, async () => {
      throw Object.assign(new Error('busy'), { status: 429 })
    })
    await expect(caller.request('service')).rejects.toMatchObject({ message: 'busy', status: 429 })
    expect(loop.outcomes).toEqual([Outcome.Error, Outcome.Rejected])
  })

  it('refuses a body that is too large or has no form before it is sent, and a reply likewise', async () => {
    const [loop, caller, server] = pair(4_096, { maxBodyBytes: 1_000 })
    loop.serve(server, (body: unknown) => (body === 'large' ? 'x'.repeat(1_001) : () => 1))
    await expect(caller.request('service', 'x'.repeat(1_001))).rejects.toMatchObject({
      code: 'LM_LIMIT_EXCEEDED',
      field: 'body',
      limit: 1_000,
    })
    await expect(caller.request('service', () => 1)).rejects.toMatchObject({
      code: 'LM_CODEC',
      outcome: 'not-delivered',
    })
    await expect(caller.request('service', 'large')).rejects.toMatchObject({ code: 'LM_LIMIT_EXCEEDED' })
    await expect(caller.request('service', 'function')).rejects.toMatchObject({ code: 'LM_CODEC' })
    expect(caller.dispatcher.outstanding).toBe(0)
  })

  it('cancels the handler over there when the caller gives up', async () => {
    const [loop, caller, server] = pair()
    let context: Context | undefined
    const started = new Promise<void>((resolve) => {
      loop.serve(server, (_body, ctx) => {
        context = ctx
        resolve()
        return new Promise(() => {})
      })
    })
    const controller = new AbortController()
    const request = caller.request('service', 1, { signal: controller.signal })
    await started
    const aborted = new Promise((resolve) => (context as Context).signal.addEventListener('abort', resolve))
    controller.abort(new Error('changed my mind'))
    await expect(request).rejects.toMatchObject({
      code: 'LM_CANCELLED',
      outcome: 'unknown',
      cause: { message: 'changed my mind' },
    })
    await aborted
    expect(loop.outcomes).toEqual([Outcome.Cancelled])
  })

  it('says not-delivered for what a dead thread had not begun, unknown for what it had', async () => {
    const [loop, caller, server] = pair()
    loop.serve(server, () => new Promise(() => {}))
    const begun = caller.request('service', 'begun')
    await turns(5)
    expect(server.dispatcher.active).toBe(1)
    loop.deaf.add(2)
    const unread = caller.request('service', 'unread')
    await turns(5)
    const unsent = caller.request('service', 'unsent')
    loop.end(server)
    await expect(begun).rejects.toMatchObject({ code: 'LM_THREAD_ENDED', outcome: 'unknown' })
    await expect(unread).rejects.toMatchObject({ code: 'LM_THREAD_ENDED', outcome: 'not-delivered' })
    await expect(unsent).rejects.toMatchObject({ code: 'LM_THREAD_ENDED', outcome: 'not-delivered' })
    expect(loop.outcomes).toEqual([Outcome.Unknown, Outcome.Unreachable, Outcome.Unreachable])
  })

  it('retries elsewhere what was not delivered, and what is idempotent', async () => {
    const [loop, caller, server] = pair()
    const other = loop.thread(3)
    loop.retries = 2
    loop.deaf.add(2)
    loop.serve(server, () => 'dead')
    const undelivered = caller.request('service', 'x')
    loop.serve(other, (body) => `other ${body}`)
    loop.end(server)
    await expect(undelivered).resolves.toBe('other x')

    const third = loop.thread(4)
    loop.instances.length = 0
    loop.serve(third, () => new Promise(() => {}))
    const begun = caller.request('service', 'y', { idempotent: true })
    await turns(5)
    loop.serve(other, (body) => `again ${body}`)
    loop.end(third)
    await expect(begun).resolves.toBe('again y')
    expect(loop.outcomes).toEqual([Outcome.Unreachable, Outcome.Ok, Outcome.Unknown, Outcome.Ok])
  })

  it('keeps what a thread answered before it ended', async () => {
    const [loop, caller, server] = pair()
    loop.serve(server, () => 'in time')
    loop.deaf.add(1)
    const request = caller.request('service')
    await turns(5)
    loop.deaf.delete(1)
    loop.end(server)
    await expect(request).resolves.toBe('in time')
  })

  it('bounds what waits for room in a lane whose reader stands still', async () => {
    const [loop, caller, server] = pair(65_536)
    loop.serve(server, (body) => body)
    loop.deaf.add(2)
    // 5,000 frames of 15 KB are more than the 64 MiB that may wait.
    const body = new Uint8Array(15_000)
    const requests: Promise<unknown>[] = []
    for (let index = 0; index < 5_000; index++) {
      requests.push(caller.request('service', body, { timeoutMs: Number.POSITIVE_INFINITY }))
    }
    const early = await Promise.race(requests).catch((error: unknown) => error)
    expect(early).toMatchObject({ code: 'LM_SATURATED', outcome: 'not-delivered' })
    loop.deaf.delete(2)
    const settled = await Promise.allSettled(requests)
    const refused = settled.filter((one) => one.status === 'rejected')
    expect(refused.length).toBeGreaterThan(0)
    expect(refused.length).toBeLessThan(1_000)
    expect(refused.every((one) => (one.reason as LinkmeshError).code === 'LM_SATURATED')).toBe(true)
  })
})

describe('streams over lanes', () => {
  it('delivers all items in order, and never more than the window ahead', async () => {
    const [loop, caller, server] = pair()
    let produced = 0
    loop.serve(server, async function* (count: number) {
      for (let item = 0; item < count; item++) {
        produced++
        yield { item }
      }
    })
    let taken = 0
    for await (const { item } of stream<{ item: number }>(caller, 500, { window: 8 })) {
      expect(item).toBe(taken++)
      expect(produced - taken).toBeLessThanOrEqual(8)
      if (taken % 50 === 0) await turns(3)
    }
    expect(taken).toBe(500)
    expect(loop.outcomes).toEqual([Outcome.Ok])
    expect(caller.dispatcher.outstanding).toBe(0)
    expect(server.dispatcher.active).toBe(0)
  })

  it("stops the producer when the consumer leaves, and runs the producer's finally", async () => {
    const [loop, caller, server] = pair()
    const cleaned = new Promise<void>((resolve) => {
      loop.serve(server, async function* () {
        try {
          for (let item = 0; ; item++) yield item
        } finally {
          resolve()
        }
      })
    })
    for await (const item of stream<number>(caller)) if (item === 3) break
    await cleaned
    expect(caller.dispatcher.outstanding).toBe(0)
  })

  it('hands over the items before an error, then the error', async () => {
    const [loop, caller, server] = pair()
    loop.serve(server, async function* () {
      yield 1
      yield 2
      throw new TypeError('broken')
    })
    const items: number[] = []
    await expect(
      (async () => {
        for await (const item of stream<number>(caller)) items.push(item)
      })(),
    ).rejects.toThrow(TypeError)
    expect(items).toEqual([1, 2])
    expect(loop.outcomes).toEqual([Outcome.Error])
  })

  it('tells the consumer when the producing thread ends', async () => {
    const [loop, caller, server] = pair()
    loop.serve(server, async function* () {
      yield 1
      await new Promise(() => {})
    })
    const items = stream<number>(caller)
    expect(await items.next()).toEqual({ value: 1, done: false })
    const next = items.next()
    loop.end(server)
    await expect(next).rejects.toMatchObject({ code: 'LM_THREAD_ENDED', outcome: 'unknown' })
    expect(await items.next()).toEqual({ value: undefined, done: true })
    expect(caller.dispatcher.outstanding).toBe(0)
  })

  it('refuses a stream asked for as a request, and gives a single reply as a stream of one', async () => {
    const [loop, caller, server] = pair()
    loop.serve(server, async function* () {
      yield 1
    })
    await expect(caller.request('service')).rejects.toMatchObject({ code: 'LM_INVALID_ARGUMENT' })
    loop.instances.length = 0
    loop.serve(server, () => 'one')
    const items: unknown[] = []
    for await (const item of stream(caller)) items.push(item)
    expect(items).toEqual(['one'])
  })

  it('is ended by its signal while it waits for an item', async () => {
    const [loop, caller, server] = pair()
    const aborted = new Promise<void>((resolve) => {
      loop.serve(server, async function* (_body: unknown, ctx: Context) {
        ctx.signal.addEventListener('abort', () => resolve())
        yield 1
        await new Promise(() => {})
      })
    })
    const controller = new AbortController()
    const items = stream<number>(caller, 0, { signal: controller.signal })
    await items.next()
    const next = items.next()
    controller.abort()
    await expect(next).rejects.toMatchObject({ code: 'LM_CANCELLED' })
    await aborted
  })
})
