/** Idempotency keys: what callers and handlers see. */
import { expect, it } from 'vitest'
import { LinkmeshError } from '../../ts/index.js'
import { describe } from '../support/backend.js'
import { opened } from '../support/mesh.js'

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

describe('idempotencyKey', () => {
  it('answers a repeat with the first reply, whatever it holds, and runs another key', async () => {
    const mesh = await opened()
    let runs = 0
    mesh.service('pay', (body: unknown, ctx) => {
      runs++
      return { runs, body, key: ctx.idempotencyKey, at: new Date(7), list: new Map([[1, new Uint8Array([1, 2])]]) }
    })
    const idempotencyKey = 'order-7'
    const first = await mesh.request('pay', { sum: 1 }, { idempotencyKey })
    expect(first).toMatchObject({ runs: 1, key: idempotencyKey })
    expect(await mesh.request('pay', { sum: 2 }, { idempotencyKey })).toEqual(first)
    expect(await mesh.request('pay', 3, { idempotencyKey: 'order-8' })).toMatchObject({ runs: 2, body: 3 })
    expect(await mesh.request('pay', 4)).toMatchObject({ runs: 3, key: undefined })
    const replies = [undefined, null, '', 'ü', '\ud800', new Uint8Array(3), 0.5]
    for (const [n, reply] of replies.entries()) {
      mesh.service(`kind-${n}`, () => reply)
      await mesh.request(`kind-${n}`, 1, { idempotencyKey })
      expect(await mesh.request(`kind-${n}`, 1, { idempotencyKey })).toEqual(reply)
    }
  })

  it('finds the first result at every instance of the process', async () => {
    const mesh = await opened()
    let runs = 0
    for (let n = 0; n < 3; n++) mesh.service('pay', () => ++runs, { policy: { balancer: 'round-robin' } })
    const replies = await Promise.all(
      Array.from({ length: 9 }, (_, n) => mesh.request('pay', n, { key: `k${n}`, idempotencyKey: 'same' })),
    )
    expect(replies).toEqual(Array(9).fill(1))
  })

  it('lets repeats wait for a first that is under way', async () => {
    const mesh = await opened()
    let runs = 0
    let answer: (reply: string) => void = () => {}
    mesh.service('pay', () => {
      runs++
      return new Promise((resolve) => {
        answer = resolve
      })
    })
    const idempotencyKey = 'k'
    const first = mesh.request('pay', 1, { idempotencyKey })
    const second = mesh.request('pay', 1, { idempotencyKey })
    const hasty = mesh.request('pay', 1, { idempotencyKey, timeoutMs: 5, retries: 0 })
    await expect(hasty).rejects.toMatchObject({ code: 'LM_DEADLINE_EXCEEDED' })
    answer('paid')
    expect(await Promise.all([first, second])).toEqual(['paid', 'paid'])
    expect(runs).toBe(1)
  })

  it('answers a repeat with the first error as data, and does not try it again by itself', async () => {
    const mesh = await opened()
    let runs = 0
    mesh.service('pay', () => {
      runs++
      throw Object.assign(new RangeError('no funds'), { account: 7 })
    })
    const idempotencyKey = 'k'
    await expect(mesh.request('pay', 1, { idempotencyKey })).rejects.toThrow('no funds')
    expect(runs, 'an answer, though the request counts as idempotent').toBe(1)
    const again = await mesh.request('pay', 1, { idempotencyKey }).catch((error: unknown) => error)
    expect(again).toBeInstanceOf(RangeError)
    expect(again).toMatchObject({ message: 'no funds', account: 7 })
    expect(runs).toBe(1)
  })

  it('does not remember a refusal for now, nor a failure that says a repeat may do', async () => {
    const mesh = await opened()
    const errors = [
      Object.assign(new Error('busy'), { status: 429 }),
      Object.assign(new Error('flaky'), { retryable: true }),
    ]
    let runs = 0
    mesh.service(
      'pay',
      () => {
        const error = errors[runs++]
        if (error !== undefined) throw error
        return 'paid'
      },
      { policy: { rejectedMs: 0, retry: { minBackoffMs: 0, maxBackoffMs: 1 } } },
    )
    expect(await mesh.request('pay', 1, { idempotencyKey: 'k' })).toBe('paid')
    expect(runs, 'tried again by itself: the key makes that safe').toBe(3)
    expect(await mesh.request('pay', 1, { idempotencyKey: 'k' })).toBe('paid')
    expect(runs).toBe(3)
  })

  it('runs again when the caller of the first cancelled it and the handler stopped', async () => {
    const mesh = await opened()
    let runs = 0
    mesh.service('pay', (_body: unknown, ctx) => {
      if (++runs > 1) return 'paid'
      return new Promise((_resolve, reject) => {
        ctx.signal.addEventListener('abort', () => reject(ctx.signal.reason))
      })
    })
    const stop = new AbortController()
    const first = mesh.request('pay', 1, { idempotencyKey: 'k', signal: stop.signal })
    const second = mesh.request('pay', 1, { idempotencyKey: 'k' })
    await turn()
    stop.abort()
    await expect(first).rejects.toMatchObject({ code: 'LM_CANCELLED' })
    expect(await second).toBe('paid')
  })

  it('says so when the first answer was too large to be kept, or has no copy, and never runs it again', async () => {
    const mesh = await opened()
    let runs = 0
    mesh.service(
      'pay',
      (body: string) => {
        runs++
        return body === 'large' ? 'x'.repeat(3_000) : (): void => {}
      },
      { policy: { idempotency: { maxBytes: 2_048 } } },
    )
    for (const [body, code] of [
      ['large', 'LM_LIMIT_EXCEEDED'],
      ['function', 'LM_CODEC'],
    ] as const) {
      await mesh.request('pay', body, { idempotencyKey: body })
      await expect(mesh.request('pay', body, { idempotencyKey: body })).rejects.toMatchObject({
        code,
        outcome: 'delivered',
        retryable: false,
      })
    }
    expect(runs).toBe(2)
  })

  it('refuses keys and uses that it cannot keep its word for', async () => {
    const mesh = await opened()
    mesh.service('pay', async function* () {
      yield 1
    })
    for (const idempotencyKey of ['', 'x'.repeat(1_025), '\ud800', 7]) {
      await expect(mesh.request('pay', 1, { idempotencyKey: idempotencyKey as string })).rejects.toMatchObject({
        code: 'LM_INVALID_ARGUMENT',
        field: 'idempotencyKey',
      })
    }
    expect(() => mesh.stream('pay', 1, { idempotencyKey: 'k' } as object)).toThrow(LinkmeshError)
    await expect(mesh.request('pay', 1, { idempotencyKey: 'k' })).rejects.toMatchObject({ code: 'LM_INVALID_ARGUMENT' })
  })

  it('with another fingerprint it is another request, which is refused and harms nobody', async () => {
    const mesh = await opened()
    let runs = 0
    mesh.service('pay', () => {
      runs++
      return runs
    })
    const pay = (idempotencyFingerprint?: string) =>
      mesh.request('pay', 1, { idempotencyKey: 'k', ...(idempotencyFingerprint && { idempotencyFingerprint }) })
    expect(await pay('a')).toBe(1)
    expect(await pay('a')).toBe(1)
    // Who does not say what it is about believes the key.
    expect(await pay()).toBe(1)
    await expect(pay('b')).rejects.toMatchObject({ code: 'LM_CONFLICT', field: 'idempotencyKey', retryable: false })
    expect(runs).toBe(1)
    expect(mesh.services()[0]?.instances[0]?.failed).toBe(0)
    for (const idempotencyFingerprint of ['', 'ü', 'x'.repeat(129), 7] as string[])
      await expect(mesh.request('pay', 1, { idempotencyKey: 'k', idempotencyFingerprint })).rejects.toMatchObject({
        field: 'idempotencyFingerprint',
      })
    await expect(mesh.request('pay', 1, { idempotencyFingerprint: 'a' })).rejects.toMatchObject({
      field: 'idempotencyFingerprint',
    })
  })

  it('is kept in a dead letter, so that what was done is not redriven', async () => {
    const mesh = await opened({ deadLetters: true })
    let runs = 0
    let answer: (reply: string) => void = () => {}
    mesh.service('pay', () => {
      runs++
      return new Promise((resolve) => {
        answer = resolve
      })
    })
    const late = mesh.request('pay', 1, { idempotencyKey: 'k', timeoutMs: 5, retries: 0 })
    await expect(late).rejects.toMatchObject({ code: 'LM_DEADLINE_EXCEEDED' })
    const { letters } = await mesh.deadLetters.list()
    const id = letters[0]?.id as number
    expect((await mesh.deadLetters.get(id)).letter.idempotencyKey).toBe('k')
    answer('paid')
    expect(await mesh.deadLetters.redrive(id)).toBe('redriven')
    expect(runs).toBe(1)
  })
})
