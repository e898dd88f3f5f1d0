/** An operator's orders about one instance. */
import { expect, it } from 'vitest'
import { Outcome, Scratch, type ServiceInfo, Status } from '../../ts/binding/contract.js'
import { onBothBackends, refusal } from './backends.js'
import { openMesh } from './open-mesh.js'

onBothBackends('orders', (binding) => {
  function fleet(policy = {}) {
    const opened = openMesh(binding())
    const service = opened.define('orders', policy)
    const a = opened.add(service, { address: 'http://a' })
    const b = opened.add(service, { address: 'http://b' })
    const { b: api, mesh } = opened
    /** Who gets ten requests. */
    const picked = (): number[] => {
      const seen = new Set<number>()
      for (let n = 0; n < 10; n++) {
        const ticket = api.pick(mesh, service, 0)
        if (ticket < 0) continue
        seen.add(api.scratch()[Scratch.Instance] as number)
        api.complete(mesh, ticket, Outcome.Ok, 10)
      }
      return [...seen].sort((x, y) => x - y)
    }
    const both = [a, b].sort((x, y) => x - y)
    return { api, mesh, service, a, b, both, picked }
  }

  it('an ejection ends by itself, or at once', () => {
    const { api, mesh, a, b, both, picked } = fleet()
    expect(api.instanceControl(mesh, a, 'eject', 5_000)).toBe(0)
    expect(picked()).toEqual([b])
    expect(api.meshAdvance(mesh, 5_000_001)).toBe(0)
    expect(picked()).toEqual(both)
    expect(api.instanceControl(mesh, a, 'eject', 5_000)).toBe(0)
    expect(api.instanceControl(mesh, a, 'eject', 0)).toBe(0)
    expect(picked()).toEqual(both)
  })

  it('while all are ejected a pick is refused, and nobody waits for a place', () => {
    const { api, mesh, service, a, b } = fleet()
    for (const instance of [a, b]) expect(api.instanceControl(mesh, instance, 'eject', 5_000)).toBe(0)
    expect(api.pick(mesh, service, 0)).toBe(Status.BreakerOpen)
    expect(api.scratch()[Scratch.RetryAfterMs]).toBe(5_000)
  })

  it('says until when an instance is kept out, and no longer when that is over', () => {
    const { api, mesh, service, a, b } = fleet()
    const untilMs = () => JSON.parse(api.instanceInfo(mesh, a)).ejectedUntilMs
    expect(untilMs()).toBe(null)
    expect(api.meshAdvance(mesh, 1_000_000)).toBe(0)
    expect(api.instanceControl(mesh, a, 'eject', 5_000)).toBe(0)
    expect(untilMs()).toBe(6_000)
    const { instances } = JSON.parse(api.serviceInfo(mesh, service)) as ServiceInfo
    expect(instances.map(({ handle, ejectedUntilMs }) => [handle, ejectedUntilMs])).toEqual([
      [a, 6_000],
      [b, null],
    ])
    api.meshAdvance(mesh, 5_000_000)
    expect(untilMs()).toBe(null)
  })

  it('a breaker opened by hand stays open beyond every open time, until it is closed; both are events', () => {
    const { api, mesh, a, b, both, picked } = fleet()
    expect(api.instanceControl(mesh, a, 'open-breaker', 0)).toBe(0)
    expect(api.meshAdvance(mesh, 3_600_000_000)).toBe(0)
    expect(picked()).toEqual([b])
    expect(JSON.parse(api.instanceInfo(mesh, a)).breaker).toBe('open')
    expect(api.instanceControl(mesh, a, 'close-breaker', 0)).toBe(0)
    expect(picked()).toEqual(both)
    const { events } = JSON.parse(api.eventsSince(mesh, 0)) as {
      events: { kind: string; from?: string; to?: string }[]
    }
    expect(events.filter(({ kind }) => kind === 'breaker').map(({ from, to }) => `${from} ${to}`)).toEqual([
      'closed open',
      'open closed',
    ])
  })

  it('reset forgets what was learned', () => {
    const { api, mesh, service, a, both, picked } = fleet({ breaker: { consecutiveFailures: 2 } })
    for (let n = 0; n < 4; n++) api.complete(mesh, api.pick(mesh, service, 0), Outcome.Error, 9_000)
    expect(picked()).toEqual([])
    for (const instance of both) expect(api.instanceControl(mesh, instance, 'reset', 0)).toBe(0)
    expect(JSON.parse(api.instanceInfo(mesh, a))).toMatchObject({ breaker: 'closed', latencyUs: 0, failed: 2 })
    expect(picked()).toEqual(both)
  })

  it.each([
    ['eject', -1, 'forMs'],
    ['eject', Number.NaN, 'forMs'],
    ['eject', 3_600_001, 'forMs'],
    ['explode', 0, 'order'],
  ] as const)('refuses %s for %d ms', (order, forMs, field) => {
    const { api, mesh, a } = fleet()
    expect(api.instanceControl(mesh, a, order as 'eject', forMs)).toBe(Status.InvalidArgument)
    expect(refusal(api)?.field).toBe(field)
  })

  it('refuses what cannot be', () => {
    const { api, mesh, a } = fleet({ breaker: { enabled: false } })
    expect(api.instanceControl(mesh, a, 'open-breaker', 0)).toBe(Status.Conflict)
    expect(api.instanceControl(mesh, a + (1 << 17), 'reset', 0)).toBe(Status.StaleHandle)
  })
})
