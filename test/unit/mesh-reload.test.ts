/** `mesh.reload`: changed in one turn, watched, taken back when it was worse, and refused before anything is changed. */
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { Mesh } from '../../ts/index.js'
import { describe, NO_MESH } from '../support/backend.js'

describe.skipIf(NO_MESH !== '')('mesh.reload', () => {
  let mesh: Mesh
  let running: NodeJS.Timeout | undefined
  let meshes = 0
  beforeEach(async () => {
    mesh = await Mesh.open({ name: `mesh-reload-${process.pid}-${++meshes}`, seed: 1, deadLetters: false })
  })
  afterEach(async () => {
    clearInterval(running)
    await mesh.close()
  })
  const quick = { beforeMs: 200, watchMs: 400, minRequests: 20 }
  const policyOf = (service: string) => mesh.services().find(({ name }) => name === service)?.policy

  /** Twenty requests every few milliseconds, each of which takes some. */
  function underLoad(): { failed: number; answered: number } {
    const seen = { failed: 0, answered: 0 }
    mesh.service('pay', async () => delay(5), { policy: { retry: { limit: 0 }, concurrency: 500 } })
    running = setInterval(() => {
      for (let n = 0; n < 20; n++)
        mesh.request('pay').then(
          () => seen.answered++,
          () => seen.failed++,
        )
    }, 10)
    return seen
  }

  it('applies what is no worse, loses nothing and writes the trail', async () => {
    const seen = underLoad()
    const report = await mesh.reload({ services: { pay: { policy: { balancer: 'round-robin' } } } }, quick)
    expect(report).toMatchObject({
      verdict: 'applied',
      changes: [{ path: 'services.pay.policy.balancer', to: 'round-robin' }],
      watched: { tooFew: false, after: { failed: 0 } },
    })
    // The other fields stay.
    expect(policyOf('pay')).toMatchObject({ balancer: 'round-robin', concurrency: 500 })
    expect(seen.failed).toBe(0)
    expect(seen.answered).toBeGreaterThan(100)
  })

  it('takes back by itself what refuses requests', async () => {
    underLoad()
    const policy = { concurrency: 1, queueLimit: 0 }
    const report = await mesh.reload({ services: { pay: { policy } } }, { ...quick, watchMs: 60_000 })
    expect(report).toMatchObject({ verdict: 'rolled-back', reason: expect.stringMatching(/requests failed/) })
    expect(policyOf('pay')?.concurrency).toBe(500)
    await mesh.request('pay')
  })

  it('a dry run says what would move, and changes nothing', async () => {
    for (let n = 0; n < 2; n++) mesh.register('ship', { address: `http://ship-${n}`, policy: { balancer: 'random' } })
    const route = mesh.route('ship')
    for (let pick = 0; pick < 1_000; pick++) route.complete(route.pick(), 0, 100)
    const config = { services: { ship: { weights: { 'http://ship-1': 9 } } } }
    const report = await mesh.reload(config, { dryRun: true })
    expect(report).toMatchObject({ verdict: 'checked', shadow: { services: [{ service: 'ship', picks: 1_000 }] } })
    expect(report.shadow?.services[0]?.moved).toBeCloseTo(0.4, 1)
    const weights = () => mesh.services()[0]?.instances.map(({ weight }) => weight)
    expect(weights()).toEqual([1, 1])
    expect(await mesh.reload(config, { beforeMs: 0, watchMs: 100 })).toMatchObject({
      verdict: 'applied',
      watched: { tooFew: true },
    })
    expect(weights()).toEqual([1, 9])
    expect(await mesh.reload(config)).toMatchObject({ verdict: 'unchanged' })
  })

  it('refuses by name what is wrong anywhere, before anything is changed', async () => {
    mesh.register('ship', { address: 'http://ship-0' })
    mesh.register('pay', { address: 'http://pay-0' })
    const good = { ship: { policy: { concurrency: 7 } } }
    const refused = (services: object) => mesh.reload({ services: { ...good, ...services } } as never)
    await expect(refused({ pay: { policy: { concurrency: -1 } } })).rejects.toMatchObject({
      field: 'policy.concurrency',
    })
    await expect(refused({ pay: { weights: { 'http://pay-0': 0 } } })).rejects.toMatchObject({
      field: 'config.services["pay"].weights["http://pay-0"]',
    })
    await expect(refused({ pay: { weights: { nobody: 2 } } })).rejects.toThrow(/pay has no instance "nobody"/)
    await expect(refused({ other: {} })).rejects.toMatchObject({ code: 'LM_NOT_FOUND' })
    await expect(refused({ pay: { limits: {} } })).rejects.toMatchObject({ code: 'LM_INVALID_ARGUMENT' })
    await expect(mesh.reload({ services: good }, { watchMs: 1 })).rejects.toMatchObject({ field: 'options.watchMs' })
    expect(policyOf('ship')?.concurrency).not.toBe(7)
  })

  it('what only the native backend runs is tried there, and refused by name elsewhere, with nothing applied', async () => {
    for (const name of ['ship', 'pay']) mesh.register(name, { address: `http://${name}-0` })
    const route = mesh.route('pay')
    for (let pick = 0; pick < 100; pick++) route.complete(route.pick(), 0, 100)
    for (const policy of [
      { outlier: { enabled: true } },
      { rateLimit: { perSecond: 10, burst: 10 } },
      { adaptiveConcurrency: { enabled: true } },
      { breaker: { slowCallMs: 50 } },
    ]) {
      const services = { ship: { policy: { concurrency: 7 } }, pay: { policy } }
      const reload = mesh.reload({ services }, { dryRun: true })
      if (mesh.backend.kind === 'native') {
        const report = await reload
        expect(report).toMatchObject({ verdict: 'checked', shadow: { services: [{ service: 'pay', picks: 100 }] } })
        // A hundred picks within a moment are more than ten a second.
        if ('rateLimit' in policy) expect(report.shadow?.services[0]?.refused.after).toBeGreaterThan(50)
      } else {
        await expect(reload).rejects.toMatchObject({
          code: 'LM_NATIVE_REQUIRED',
          field: expect.stringMatching(new RegExp(`^policy.${Object.keys(policy)[0]}`)),
        })
        await expect(mesh.reload({ services })).rejects.toMatchObject({ code: 'LM_NATIVE_REQUIRED' })
      }
      expect(policyOf('ship')?.concurrency).not.toBe(7)
    }
    expect(await mesh.audit.tail()).toEqual([])
  })

  it('one at a time', async () => {
    underLoad()
    const first = mesh.reload({ services: { pay: { policy: { concurrency: 300 } } } }, quick)
    const second = mesh.reload({ services: { pay: { policy: { concurrency: 400 } } } }, quick)
    await expect(second).rejects.toMatchObject({ code: 'LM_CONFLICT' })
    expect(await first).toMatchObject({ verdict: 'applied' })
  })
})
