/** `ordering: 'key'`: what callers and handlers see. */
import { expect, it } from 'vitest'
import type { Context } from '../../ts/index.js'
import { describe } from '../support/backend.js'
import { opened } from '../support/mesh.js'

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
const ordered = { policy: { ordering: 'key' as const } }

/** A handler whose requests are answered from outside, in the order they came. */
function gate(): {
  handler(body: unknown, ctx: Context): Promise<unknown>
  seen: unknown[]
  broken: boolean[]
  open(): void
} {
  const open: (() => void)[] = []
  const seen: unknown[] = []
  const broken: boolean[] = []
  return {
    seen,
    broken,
    handler: (body, ctx) => {
      seen.push(body)
      broken.push(ctx.orderBroken)
      return new Promise((resolve) => open.push(() => resolve(body)))
    },
    open: () => open.shift()?.(),
  }
}

describe("ordering: 'key'", () => {
  it('hands requests with one key over one after the other, and those with others at once', async () => {
    const mesh = await opened()
    const one = gate()
    const two = gate()
    mesh.service('orders', one.handler, ordered)
    mesh.service('orders', two.handler)
    const seen = (): unknown[] => [...one.seen, ...two.seen]
    const answers = [1, 2, 3].map((body) => mesh.request('orders', body, { key: 'a' }))
    const others = [10, 20].map((body) => mesh.request('orders', body, { key: `other-${body}` }))
    const free = mesh.request('orders', 100)
    await turn()
    expect(seen().sort()).toEqual([1, 10, 100, 20])
    const drain = setInterval(() => {
      one.open()
      two.open()
    })
    expect(await Promise.all([...answers, ...others, free])).toEqual([1, 2, 3, 10, 20, 100])
    clearInterval(drain)
    const ofKey = [one.seen, two.seen].map((list) => list.filter((body) => (body as number) < 4))
    expect(
      ofKey.filter((list) => list.length > 0),
      'one instance, in order',
    ).toEqual([[1, 2, 3]])
    expect([...one.broken, ...two.broken].some(Boolean)).toBe(false)
  })

  it('lets the next wait while one is tried again', async () => {
    const mesh = await opened()
    const seen: string[] = []
    mesh.service(
      'orders',
      (body: string, ctx) => {
        seen.push(`${body}${ctx.attempt}`)
        if (body === 'a' && ctx.attempt < 3) throw new Error('not yet')
        return body
      },
      { idempotent: true, policy: { ordering: 'key', retry: { minBackoffMs: 1, maxBackoffMs: 1 } } },
    )
    await Promise.all(['a', 'b'].map((body) => mesh.request('orders', body, { key: 'k' })))
    expect(seen).toEqual(['a1', 'a2', 'a3', 'b1'])
  })

  it('tells the next message and the dead letter when one was given up, once', async () => {
    const mesh = await opened({ deadLetters: true })
    const broken: boolean[] = []
    mesh.service(
      'orders',
      (body: string, ctx) => {
        broken.push(ctx.orderBroken)
        if (body === 'bad') throw undefined
        return body
      },
      ordered,
    )
    const results = await Promise.allSettled(
      ['bad', 'good', 'good'].map((body) => mesh.request('orders', body, { key: 'k' })),
    )
    expect(results.map(({ status }) => status)).toEqual(['rejected', 'fulfilled', 'fulfilled'])
    expect(broken).toEqual([false, true, false])
    await mesh.request('orders', 'bad', { key: 'k' }).catch(() => undefined)
    await turn()
    await mesh.request('orders', 'good', { key: 'other' })
    await mesh.request('orders', 'good', { key: 'k' })
    expect(broken, 'also when nobody waited').toEqual([false, true, false, false, false, true])
    const { letters } = await mesh.deadLetters.list()
    expect(letters.map(({ breaksOrder, key }) => [breaksOrder, key])).toEqual([
      [true, 'k'],
      [true, 'k'],
    ])
  })

  it('is no break when the request was wrong, or its caller gave up by itself', async () => {
    const mesh = await opened()
    const broken: boolean[] = []
    mesh.service(
      'orders',
      (body: string, ctx) => {
        broken.push(ctx.orderBroken)
        if (body === 'wrong') throw Object.assign(new Error('no such order'), { status: 404 })
        return body === 'never' ? new Promise(() => {}) : body
      },
      ordered,
    )
    const stop = new AbortController()
    const key = 'k'
    const wrong = mesh.request('orders', 'wrong', { key })
    const never = mesh.request('orders', 'never', { key, signal: stop.signal })
    const last = mesh.request('orders', 'good', { key })
    await expect(wrong).rejects.toThrow('no such order')
    await turn()
    stop.abort()
    await expect(never).rejects.toMatchObject({ code: 'LM_CANCELLED' })
    expect(await last).toBe('good')
    expect(broken).toEqual([false, false, false])
  })

  it('passes the turn on when one that waits runs out of time, and says that it did', async () => {
    const mesh = await opened()
    const gated = gate()
    mesh.service('orders', gated.handler, ordered)
    const key = 'k'
    const first = mesh.request('orders', 1, { key })
    const second = mesh.request('orders', 2, { key, timeoutMs: 5 })
    const third = mesh.request('orders', 3, { key })
    await expect(second).rejects.toMatchObject({ code: 'LM_DEADLINE_EXCEEDED', outcome: 'not-delivered' })
    gated.open()
    await first
    await turn()
    expect([gated.seen, gated.broken]).toEqual([
      [1, 3],
      [false, true],
    ])
    gated.open()
    expect(await third).toBe(3)
  })

  it('bounds who waits with one key, by a typed refusal', async () => {
    const mesh = await opened()
    const gated = gate()
    mesh.service('orders', gated.handler, { policy: { ordering: 'key', queueLimit: 2 } })
    const key = 'k'
    const answers = [1, 2, 3].map((body) => mesh.request('orders', body, { key }))
    await expect(mesh.request('orders', 4, { key })).rejects.toMatchObject({
      code: 'LM_QUEUE_FULL',
      field: 'key',
      limit: 2,
      outcome: 'not-delivered',
      retryable: true,
    })
    const drain = setInterval(() => gated.open())
    expect(await Promise.all(answers)).toEqual([1, 2, 3])
    clearInterval(drain)
  })

  it('holds the turn of a stream until it ends', async () => {
    const mesh = await opened()
    const seen: unknown[] = []
    mesh.service(
      'orders',
      (body: unknown) => {
        seen.push(body)
        if (body !== 'stream') return body
        return (async function* items() {
          yield 1
          yield 2
        })()
      },
      ordered,
    )
    const key = 'k'
    const items = mesh.stream('orders', 'stream', { key })
    expect(await items.next()).toEqual({ done: false, value: 1 })
    const next = mesh.request('orders', 'next', { key })
    await turn()
    expect(seen).toEqual(['stream'])
    await items.return?.()
    expect(await next).toBe('next')
  })

  it('refuses a handler that would wait for itself', async () => {
    const mesh = await opened()
    mesh.service(
      'orders',
      (body: unknown, ctx) => (body === 'nested' ? 1 : ctx.request('orders', 'nested', { key: 'k' })),
      ordered,
    )
    await expect(mesh.request('orders', 'outer', { key: 'k' })).rejects.toMatchObject({
      code: 'LM_CONFLICT',
      field: 'key',
    })
    expect(await mesh.request('orders', 'outer', { key: 'other' })).toBe(1)
  })

  it('ends who waits when the mesh closes, and goes on after the service was defined anew', async () => {
    const mesh = await opened()
    const gated = gate()
    mesh.service('orders', gated.handler, ordered)
    const answers = [1, 2].map((body) => mesh.request('orders', body, { key: 'k' }))
    await mesh.close({ graceMs: 0 })
    for (const { status, reason } of (await Promise.allSettled(answers)) as PromiseRejectedResult[])
      expect([status, reason.code]).toEqual(['rejected', 'LM_CLOSED'])
  })
})
