/** What a request is, kept across nodes: deadlines, cancellation, errors, streams with backpressure, codecs. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { NO_NATIVE } from '../support/native.js'
import { founder, joiner, type Node, until } from '../support/node.js'

describe.skipIf(NO_NATIVE !== '')(`requests across nodes${NO_NATIVE === '' ? '' : `: ${NO_NATIVE}`}`, () => {
  let first: Node
  let second: Node
  beforeAll(async () => {
    first = await founder([
      { name: 'watch' },
      { name: 'counts' },
      { name: 'remaining' },
      { name: 'chain' },
      { name: 'refuse' },
      { name: 'endless' },
      { name: 'block' },
      { name: 'echo' },
      { name: 'once', policy: { ordering: 'key' } },
    ])
    second = await joiner(first, [{ name: 'far-remaining', handler: 'remaining' }])
  })
  afterAll(async () => {
    await second?.node.end('SIGKILL')
    await first?.node.end('SIGKILL')
  })

  it('a request that is given up is given up there, too', async () => {
    const { error } = await second.node.ask('abandon', { service: 'watch' })
    expect(error).toMatchObject({ code: 'LM_CANCELLED', outcome: 'unknown' })
    await until(async () => (await first.node.ask('memory')).cancelled === 1)
  })

  it('what is left of the deadline goes along, and on to the next node', async () => {
    const { reply } = await second.node.ask('request', { service: 'remaining', options: { timeoutMs: 5_000 } })
    expect(reply).toBeGreaterThan(0)
    expect(reply).toBeLessThan(5_000)
    // second → first → second: the nested request has what the first one left.
    const chained = await second.node.ask('request', {
      service: 'chain',
      body: 'far-remaining',
      options: { timeoutMs: 4_000 },
    })
    expect(chained.reply).toBeGreaterThan(0)
    expect(chained.reply).toBeLessThan(4_000)
  })

  it('an error of the mesh comes back with its code, its outcome and what it advises', async () => {
    const { error } = await second.node.ask('request', { service: 'refuse', options: { retries: 0 } })
    expect(error).toMatchObject({
      code: 'LM_SATURATED',
      name: 'SaturatedError',
      message: 'full for now',
      retryable: true,
      retryAfterMs: 25,
    })
  })

  it('a repeat with an idempotency key has the answer of the first, whichever process asked it', async () => {
    const ask = (node: Node) =>
      node.node.ask('request', { service: 'once', options: { idempotencyKey: 'order-7', key: 'a' } })
    const { reply } = await ask(second)
    expect(reply).toMatchObject({ runs: 1, key: 'order-7' })
    expect((await ask(second)).reply).toEqual(reply)
    expect((await ask(first)).reply).toEqual(reply)
  })

  it('the order that the service asks for is kept by callers there, and a break is told over here', async () => {
    const ask = (body: string) => second.node.ask('request', { service: 'once', body, options: { key: 'b' } })
    const [failed, told, next] = await Promise.all(['fail', 'fine', 'fine'].map(ask))
    expect(failed.error).toMatchObject({ message: 'no' })
    expect([told.reply.broken, next.reply.broken]).toEqual([true, false])
    expect(next.reply.runs).toBe(told.reply.runs + 1)
  })

  it('a slow consumer stops the producer at its window, and memory does not grow', async () => {
    const before = await first.node.ask('memory')
    const { items } = await second.node.ask('read', {
      service: 'endless',
      options: { window: 16 },
      as: 'slow',
      items: 5,
    })
    expect(items).toHaveLength(5)
    // Answered after whatever the producer had been let send.
    for (let round = 0; round < 20; round++) await second.node.ask('request', { service: 'echo' })
    const after = await first.node.ask('memory')
    expect(after.produced - before.produced).toBeLessThanOrEqual(5 + 16 + 1)
    // It goes on as soon as somebody reads, any number of windows further.
    const more = await second.node.ask('read', { as: 'slow', items: 5_000 })
    expect(more.items).toHaveLength(5_000)
    await second.node.ask('stop', { as: 'slow' })
    await until(async () => (await first.node.ask('memory')).returned === 1)
  })

  it('a thread that is blocked is sent no more than its limits hold; the rest is refused in time, and nothing is lost', async () => {
    const blocked = second.node.ask('request', { service: 'block', body: 1_500, options: { timeoutMs: 20_000 } })
    const before = await second.node.ask('memory')
    // 200 MB that nobody takes for a second and a half.
    const ends = await second.node.ask('burst', {
      service: 'echo',
      count: 20_000,
      body: 'x'.repeat(10_000),
      options: { timeoutMs: 15_000, retries: 0 },
    })
    const after = await second.node.ask('memory')
    const refused = Object.values(ends.codes as Record<string, number>).reduce((sum, count) => sum + count, 0)
    expect(ends.ok + refused).toBe(20_000)
    expect(ends.ok).toBeGreaterThan(0)
    // Whatever was let in was answered: refusals only, no deadline.
    expect(Object.keys(ends.codes).filter((code) => code !== 'LM_SATURATED' && code !== 'LM_QUEUE_FULL')).toEqual([])
    expect(after.rss - before.rss).toBeLessThan(400 << 20)
    expect((await blocked).reply).toBe(first.node.child.pid)
    expect((await second.node.ask('request', { service: 'echo', body: 1 })).reply.body).toBe(1)
  })
})

describe.skipIf(NO_NATIVE !== '')('codecs of nodes', () => {
  it('bodies say by which codec they were made: json and v8 understand each other, another one is an error', async () => {
    const first = await founder([{ name: 'echo' }])
    const v8 = await joiner(first, [{ name: 'from-v8', handler: 'echo' }], { codec: 'v8' })
    const own = await joiner(first, [{ name: 'own', handler: 'echo' }], { codec: 'own:one' })
    const body = { n: 1, list: [1, 'two'] }
    expect((await v8.node.ask('request', { service: 'echo', body })).reply.body).toEqual(body)
    expect((await first.node.ask('request', { service: 'from-v8', body })).reply.body).toEqual(body)
    const { error } = await own.node.ask('request', { service: 'echo', body })
    expect(error).toMatchObject({ code: 'LM_CODEC' })
    expect(error.message).toMatch(/codec/)
    await own.node.end('SIGKILL')
    await v8.node.end('SIGKILL')
    await first.node.end('SIGKILL')
  })
})
