/**
 * What goes wrong in a user's program, and what is wanted then. Faults that have a room of their own are tested there: bad
 * options and forged numbers in `mesh-bad-input`, blocked loops in `process/heartbeat`, handlers of worker threads that never
 * answer or throw anything in `process/threads`, clocks that step back in
 * `conformance/router`, thresholds in `config/check` and `crates/routing/src/policy`, journals in `crates/journal/tests`.
 */
import { expect, it } from 'vitest'
import {
  type Handler,
  LinkmeshError,
  Mesh,
  NoInstanceError,
  Outcome,
  type Policy,
  type Registration,
} from '../../ts/index.js'
import { describe } from '../support/backend.js'
import { opened } from '../support/mesh.js'

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
const served = (mesh: Mesh, name: string) => mesh.services().find((service) => service.name === name)?.instances ?? []

describe('a fleet that cannot serve', () => {
  it('is empty: refused at once, as not delivered, and served as soon as somebody comes', async () => {
    const mesh = await opened()
    mesh.define('orders')
    const refusal = { code: 'LM_NO_INSTANCE', outcome: 'not-delivered', retryable: true }
    await expect(mesh.request('orders')).rejects.toMatchObject(refusal)
    expect(() => mesh.route('orders').pick()).toThrow(NoInstanceError)
    mesh.service('orders', () => 'here')
    expect(await mesh.request('orders')).toBe('here')
  })

  it('is ejected or broken as a whole: refused with the time to come back, and served after it', async () => {
    const mesh = await opened({ manualClock: true })
    const all = ['1', '2'].map((host) => mesh.register('orders', { address: `http://10.0.0.${host}` }))
    const route = mesh.route('orders')
    for (const { handle } of all) await mesh.admin.openBreaker({ service: 'orders', instance: handle })
    expect(() => route.pick()).toThrow(expect.objectContaining({ code: 'LM_BREAKER_OPEN', retryable: true }))
    for (const { handle } of all) await mesh.admin.closeBreaker({ service: 'orders', instance: handle })
    for (const { handle } of all) await mesh.admin.eject({ service: 'orders', instance: handle }, { forMs: 500 })
    const refused = (): LinkmeshError => {
      try {
        route.complete(route.pick(), Outcome.Ok)
      } catch (error) {
        return error as LinkmeshError
      }
      throw new Error('an instance was picked')
    }
    expect(refused()).toMatchObject({ outcome: 'not-delivered', retryable: true, retryAfterMs: 500 })
  })
})

describe('weights and thresholds', () => {
  const weights: [number, boolean][] = [
    [0, false],
    [-1, false],
    [1_001, false],
    [2 ** 53, false],
    [1e300, false],
    [1.5, false],
    [1, true],
    [1_000, true],
  ]
  it.each(weights)('weight %d: taken %s, when added and when changed', async (weight, taken) => {
    const mesh = await opened()
    const registration = mesh.register('fine', { address: 'http://10.0.0.1' })
    const attempts = [
      () => registration.update({ weight }),
      () => mesh.register('orders', { address: 'http://10.0.0.2', weight }),
    ]
    for (const attempt of attempts) {
      if (taken) attempt()
      else {
        expect(attempt).toThrow(expect.objectContaining({ field: expect.stringContaining('weight') }))
        expect(attempt).toThrow(
          expect.objectContaining({ code: expect.stringMatching(/^LM_(INVALID_ARGUMENT|LIMIT_EX)/) }),
        )
      }
    }
    expect(registration.info().weight).toBe(taken ? weight : 1)
    expect(served(mesh, 'orders').length).toBe(taken ? 1 : 0)
  })

  const policies: [Policy, string][] = [
    [{ breaker: { errorRate: 1.1 } }, 'policy.breaker.errorRate'],
    [{ breaker: { windowMs: 1 } }, 'policy.breaker.windowMs'],
    [{ retry: { limit: 11 } }, 'policy.retry.limit'],
    [{ outlier: { maxEjected: -0.1 } }, 'policy.outlier.maxEjected'],
    [{ queueLimit: 65_537 }, 'policy.queueLimit'],
    [{ concurrency: -1 }, 'policy.concurrency'],
    [{ timeoutMs: 0 }, 'policy.timeoutMs'],
    [{ ordering: 'strict' as 'key' }, 'policy.ordering'],
    [{ idempotency: { ttlMs: 0 } }, 'policy.idempotency.ttlMs'],
    [{ idempotency: { maxEntries: 1_000_001 } }, 'policy.idempotency.maxEntries'],
    [{ idempotency: { maxBytes: 1_023 } }, 'policy.idempotency.maxBytes'],
    [{ idempotency: { keys: 1 } as object }, 'policy.idempotency.keys'],
    [{ balancer: 'best' as 'random' }, 'policy.balancer'],
    [{ polcy: 1 } as object, 'policy.polcy'],
  ]
  it.each(policies)('%j is refused by its field, and the policy stays as it was', async (policy, field) => {
    const mesh = await opened()
    mesh.define('orders', { timeoutMs: 77 })
    expect(() => mesh.define('orders', policy)).toThrow(expect.objectContaining({ field }))
    expect(mesh.services()[0]?.policy.timeoutMs).toBe(77)
  })
})

describe('a key of 1 MiB', () => {
  it('is refused with the limit wherever a key goes, before anything is sent', async () => {
    const mesh = await opened({ deadLetters: true })
    mesh.service('orders', () => 1, { policy: { ordering: 'key' } })
    const key = 'k'.repeat(1 << 20)
    const refusal = { code: 'LM_INVALID_ARGUMENT', limit: 1_024, outcome: 'not-delivered' }
    await expect(mesh.request('orders', 0, { key })).rejects.toMatchObject({ ...refusal, field: 'key' })
    await expect(mesh.request('orders', 0, { idempotencyKey: key })).rejects.toMatchObject({
      ...refusal,
      field: 'idempotencyKey',
    })
    expect(() => mesh.stream('orders', 0, { key })).toThrow(expect.objectContaining(refusal))
    expect(() => mesh.route('orders').pick(key)).toThrow(expect.objectContaining(refusal))
    await expect(mesh.route('orders').wait({ key })).rejects.toMatchObject(refusal)
    await expect(mesh.deadLetters.append({ service: 'orders', reason: 'x', key })).rejects.toMatchObject(refusal)
    expect(served(mesh, 'orders')[0]?.picked).toBe(0)
  })
})

describe('a deadline in the past', () => {
  it('is refused, or has passed already: the handler never hears of it', async () => {
    const mesh = await opened()
    let runs = 0
    mesh.service('inner', () => ++runs)
    for (const timeoutMs of [0, -1, Number.NEGATIVE_INFINITY])
      await expect(mesh.request('inner', 0, { timeoutMs })).rejects.toMatchObject({ field: 'timeoutMs' })
    let late: unknown
    mesh.service('outer', async (_body: unknown, ctx) => {
      await new Promise((resolve) => ctx.signal.addEventListener('abort', resolve))
      expect(ctx.remainingMs).toBe(0)
      late = await ctx.request('inner').catch((error: unknown) => error)
      return late
    })
    await expect(mesh.request('outer', 0, { timeoutMs: 5 })).rejects.toMatchObject({ code: 'LM_DEADLINE_EXCEEDED' })
    while (late === undefined) await turn()
    expect(late).toMatchObject({ outcome: 'not-delivered' })
    expect(runs).toBe(0)
  })
})

describe('complete', () => {
  it('twice, for another mesh, or for a ticket that is over: refused, and counted once', async () => {
    const mesh = await opened()
    const other = await opened()
    for (const one of [mesh, other]) one.register('orders', { address: 'http://10.0.0.1' })
    const route = mesh.route('orders')
    const foreign = other.route('orders')
    const ticket = route.pick()
    const stale = expect.objectContaining({ code: 'LM_STALE_TICKET', field: 'ticket' })
    expect(() => foreign.complete(ticket, Outcome.Ok)).toThrow(stale)
    route.complete(ticket, Outcome.Error)
    expect(() => route.complete(ticket, Outcome.Ok)).toThrow(stale)
    // The same slot again: the old ticket is not the new one.
    const next = route.pick()
    expect(() => route.complete(ticket, Outcome.Ok)).toThrow(stale)
    route.complete(next, Outcome.Ok)
    expect(served(mesh, 'orders')[0]).toMatchObject({ succeeded: 1, failed: 1, inFlight: 0 })
    expect(served(other, 'orders')[0]).toMatchObject({ succeeded: 0, failed: 0, inFlight: 0 })
  })

  it('never: the place comes back when the lease of the ticket is over', async () => {
    const mesh = await opened()
    mesh.register('orders', { address: 'http://10.0.0.1' })
    mesh.define('orders', { concurrency: 1, ticketLeaseMs: 20 })
    const route = mesh.route('orders')
    const lost = route.pick()
    const found = await route.wait({ timeoutMs: 20_000 })
    expect(() => route.complete(lost, Outcome.Ok)).toThrow(expect.objectContaining({ code: 'LM_STALE_TICKET' }))
    route.complete(found, Outcome.Ok)
    expect(served(mesh, 'orders')[0]).toMatchObject({ succeeded: 1, failed: 1, inFlight: 0 })
  })
})

describe('a handler', () => {
  it('that never answers: the caller stops at its deadline, the handler is told, and the place is free', async () => {
    const mesh = await opened()
    let told = false
    mesh.service(
      'orders',
      (_body: unknown, ctx) => {
        ctx.signal.addEventListener('abort', () => {
          told = true
        })
        return new Promise(() => {})
      },
      { policy: { concurrency: 1 } },
    )
    for (let n = 0; n < 2; n++) {
      await expect(mesh.request('orders', 0, { timeoutMs: 5 })).rejects.toMatchObject({
        code: 'LM_DEADLINE_EXCEEDED',
        outcome: 'unknown',
      })
    }
    expect(told).toBe(true)
    expect(served(mesh, 'orders')[0]).toMatchObject({ inFlight: 0, failed: 2 })
  })

  it.each([
    ['a string', 'nonsense'],
    ['nothing', undefined],
    ['null', null],
    ['a number', 7],
    ['a symbol', Symbol('odd')],
    ['an object without a prototype', Object.create(null)],
    [
      'an object whose getters throw',
      Object.defineProperties(
        {},
        Object.fromEntries(
          ['code', 'message', 'status', 'retryable', 'name'].map((key) => [
            key,
            {
              get() {
                throw new Error(`${key} is not for you`)
              },
            },
          ]),
        ),
      ),
    ],
  ])(
    'that throws %s: the caller gets the very same, it is a failure, and the next request is served',
    async (_, thrown) => {
      const mesh = await opened({ deadLetters: true })
      let bad = true
      mesh.service('orders', async () => {
        if (bad) throw thrown
        return 'fine'
      })
      mesh.service('sync', () => {
        throw thrown
      })
      for (const name of ['orders', 'sync'] as const) {
        const [result] = await Promise.allSettled([mesh.request(name, 0, { retries: 0 })])
        expect(result?.status).toBe('rejected')
        expect(Object.is((result as PromiseRejectedResult).reason, thrown)).toBe(true)
        expect(served(mesh, name)[0]).toMatchObject({ inFlight: 0, failed: 1 })
      }
      bad = false
      expect(await mesh.request('orders')).toBe('fine')
    },
  )

  const twice: [string, Handler, unknown][] = [
    [
      'a promise that is resolved twice',
      () =>
        new Promise((resolve, reject) => {
          resolve('first')
          resolve('second')
          reject(new Error('third'))
        }),
      'first',
    ],
    [
      'a thenable that calls back twice',
      () => ({
        // biome-ignore lint/suspicious/noThenProperty: a thenable that breaks the rules is what is tested
        then(resolve: (value: unknown) => void, reject: (error: unknown) => void) {
          resolve('first')
          resolve('second')
          reject(new Error('third'))
        },
      }),
      'first',
    ],
    [
      'a thenable that answers and throws',
      () => ({
        // biome-ignore lint/suspicious/noThenProperty: as above
        then(resolve: (value: unknown) => void) {
          resolve('first')
          throw new Error('after that')
        },
      }),
      'first',
    ],
  ]
  it.each(twice)('that answers twice by %s: the first counts, once', async (_, handler, answer) => {
    const mesh = await opened()
    mesh.service('orders', handler as Handler)
    expect(await mesh.request('orders')).toBe(answer)
    await turn()
    expect(served(mesh, 'orders')[0]).toMatchObject({ inFlight: 0, succeeded: 1, failed: 0 })
  })

  it('that answers after its caller has left changes nothing', async () => {
    const mesh = await opened()
    let answer: (value: string) => void = () => {}
    mesh.service('orders', () => new Promise((resolve) => (answer = resolve)))
    const late = mesh.request('orders', 0, { timeoutMs: 5 })
    await expect(late).rejects.toMatchObject({ code: 'LM_DEADLINE_EXCEEDED' })
    answer('too late')
    await turn()
    expect(served(mesh, 'orders')[0]).toMatchObject({ inFlight: 0, succeeded: 0, failed: 1 })
  })

  it('that closes its own instance, or the mesh, while it serves', async () => {
    const mesh = await opened()
    let registration: Registration | undefined
    registration = mesh.service('orders', async () => {
      registration?.close()
      await turn()
      return 'done'
    })
    expect(await mesh.request('orders')).toBe('done')
    await expect(mesh.request('orders')).rejects.toMatchObject({ code: 'LM_NO_INSTANCE' })
    mesh.service('last', async () => {
      await mesh.close({ graceMs: 0 })
      return 'done'
    })
    await expect(mesh.request('last')).rejects.toMatchObject({ code: 'LM_CLOSED' })
  })
})

describe('dead letters', () => {
  it('closed under load: each append is kept or refused by name, and none is left without an answer', async () => {
    const mesh = await Mesh.open({ name: 'faults-journal', deadLetters: true })
    const results: Promise<unknown>[] = []
    for (let n = 0; n < 2_000; n++) {
      results.push(mesh.deadLetters.append({ service: 'orders', reason: 'X', body: n }))
      if (n % 500 === 499) await turn()
    }
    const closing = mesh.close({ graceMs: 0 })
    const settled = await Promise.allSettled(results)
    await closing
    await expect(mesh.deadLetters.append({ service: 'orders', reason: 'X' })).rejects.toMatchObject({
      code: 'LM_CLOSED',
    })
    const refused = settled.filter((one): one is PromiseRejectedResult => one.status === 'rejected')
    expect(refused.every(({ reason }) => reason instanceof LinkmeshError && reason.code === 'LM_CLOSED')).toBe(true)
    const ids = settled.flatMap((one) => (one.status === 'fulfilled' ? [one.value as number] : []))
    expect(new Set(ids).size, 'each its own').toBe(ids.length)
    expect(ids.length).toBeGreaterThanOrEqual(1_500)
  })
})
