/** The fallback's router as its users meet it. */
import { describe, expect, it } from 'vitest'
import { type Explanation, InstanceWord, Outcome, type ServiceInfo, Status } from '../../ts/binding/contract.js'
import { MetricCollector } from '../../ts/binding/fallback/metrics-collector.js'
import { renderText } from '../../ts/binding/fallback/metrics-text.js'
import { Rng } from '../../ts/binding/fallback/random.js'
import { refusal, THREAD, VirtualMesh } from './fallback-routing-mesh.js'

describe('pick and complete', () => {
  it('reserves a place and gives it back, and shows both in the views', () => {
    const mesh = new VirtualMesh()
    const instance = mesh.add()
    const { instances } = mesh.router.views
    const words = instances.subarray((instance & 0x1ffff) * 16)
    const ticket = mesh.mustPick()
    expect(mesh.picked).toEqual({ instance, thread: THREAD, retryAfterMs: 0, probe: false })
    expect([words[InstanceWord.Handle], words[InstanceWord.InFlight]]).toEqual([instance, 1])
    expect(mesh.complete(ticket, Outcome.Ok, 500)).toBe(0)
    expect([words[InstanceWord.InFlight], words[InstanceWord.Succeeded]]).toEqual([0, 1])
    expect(mesh.info(instance).latencyUs).toBe(500)
    expect(mesh.complete(ticket)).toBe(Status.StaleTicket)
    expect(mesh.complete(ticket, 7 as Outcome)).toBe(Status.InvalidArgument)
  })

  it('says why it does not pick', () => {
    const mesh = new VirtualMesh({ concurrency: 1, breaker: { consecutiveFailures: 1 } })
    expect(mesh.pick()).toBe(Status.NoInstance)
    const instance = mesh.add()
    const ticket = mesh.mustPick()
    expect(mesh.pick()).toBe(Status.Saturated)
    mesh.complete(ticket, Outcome.Error)
    expect(mesh.pick()).toBe(Status.BreakerOpen)
    expect(mesh.picked.retryAfterMs).toBe(1_000)
    mesh.update(instance, { health: 'draining' })
    expect(mesh.pick()).toBe(Status.Draining)
    mesh.router.removeInstance(instance, 0)
    expect(mesh.pick()).toBe(Status.NoInstance)
    mesh.router.removeService(mesh.service, 0)
    expect(mesh.pick()).toBe(Status.StaleHandle)
  })

  it('knows nobody by a number that was made up', () => {
    const mesh = new VirtualMesh()
    const instance = mesh.add()
    const real = mesh.mustPick()
    const forge = new Rng(99, 0)
    for (let n = 0; n < 100_000; n++) {
      const ticket =
        n % 2 === 0 ? forge.nextU32() * 2 ** 21 + forge.below(2 ** 21) : real + (forge.below(2_000) - 1_000)
      if (ticket !== real) expect(mesh.complete(ticket)).toBe(Status.StaleTicket)
    }
    for (const odd of [Number.NaN, Number.POSITIVE_INFINITY, -1, 0])
      expect([mesh.complete(odd), mesh.router.explainJson(odd, 0)]).toEqual([Status.StaleTicket, undefined])
    expect(mesh.info(instance).inFlight).toBe(1)
    expect(mesh.complete(real)).toBe(0)
  })

  it('picks by weight, and a key stays where it is while that is eligible', () => {
    for (const balancer of ['weighted', 'least-request']) {
      const mesh = new VirtualMesh({ balancer })
      const light = mesh.add({ weight: 1 })
      mesh.add({ weight: 3 })
      const share = mesh.spread(8_000).get(light) as number
      expect(share, balancer).toBeGreaterThan(1_850)
      expect(share, balancer).toBeLessThan(2_150)
    }
    const mesh = new VirtualMesh()
    for (let n = 0; n < 5; n++) mesh.add({ address: `http://10.0.0.${n}` })
    const home = (key: number) => {
      mesh.complete(mesh.mustPick(key))
      return mesh.picked.instance
    }
    const keys = Array.from({ length: 500 }, (_, n) => (n + 1) * 7_919)
    const homes = keys.map(home)
    const [lost = 0] = homes
    mesh.update(lost, { health: 'draining' })
    expect(keys.map(home).every((now, n) => (now === homes[n]) === (homes[n] !== lost))).toBe(true)
    mesh.update(lost, { health: 'healthy' })
    expect(keys.map(home)).toEqual(homes)
  })

  it('explains what the pick saw', () => {
    const mesh = new VirtualMesh({ concurrency: 1, balancing: { fullScan: true } })
    const [busy, draining, free] = [mesh.add(), mesh.add(), mesh.add()]
    mesh.update(draining, { health: 'draining' })
    const under = [mesh.mustPick(), mesh.mustPick()]
    while (mesh.picked.instance !== busy || under.length > 1) {
      for (const ticket of under.splice(0)) mesh.complete(ticket)
      under.push(mesh.mustPick())
    }
    const why = JSON.parse(mesh.router.explainJson(mesh.mustPick(), 0) ?? '') as Explanation
    expect(why).toMatchObject({ service: 'orders', keyHash: 0, chosen: free, rest: 0 })
    const seen = new Map(why.candidates.map(({ instance, filter, score }) => [instance, [filter, score]]))
    expect(seen).toEqual(
      new Map([
        [busy, ['at-limit', null]],
        [draining, ['draining', null]],
        [free, [null, 0]],
      ]),
    )
    expect(why.retryBudget).toBeGreaterThanOrEqual(5)
  })
})

describe('waiting', () => {
  it('serves the first first, and no more than the limit', () => {
    const mesh = new VirtualMesh({ concurrency: 1, queueLimit: 2 })
    const instance = mesh.add()
    const ticket = mesh.mustPick()
    const wait = (thread: number) => mesh.router.wait(mesh.service, 0, 0, thread, 1_000, mesh.nowUs)
    expect([wait(2), wait(3)]).toEqual([
      { id: 1, granted: false },
      { id: 2, granted: false },
    ])
    expect(wait(4)).toMatchObject({ status: Status.QueueFull, retryAfterMs: 60 })
    const done = { grantedThread: undefined, more: false }
    mesh.router.complete(ticket, Outcome.Ok, 100, 0, done)
    expect(done).toEqual({ grantedThread: 2, more: false })
    const [grant] = mesh.router.takeGrants(2, 8)
    expect(grant).toMatchObject({ waitId: 1, instance, thread: THREAD })
    expect(mesh.info(instance).inFlight).toBe(1)
    expect(mesh.router.waitCancel(1, mesh.nowUs)).toBe(false)
    expect(mesh.router.waitCancel(2, mesh.nowUs)).toBe(true)
    expect(mesh.complete(grant?.result ?? 0)).toBe(0)
    expect([mesh.router.takeGrants(3, 8), mesh.info(instance).inFlight]).toEqual([[], 0])
  })

  it('ends by time, by a free place or with the service', () => {
    const mesh = new VirtualMesh({ concurrency: 1, rejectedMs: 200 })
    const instance = mesh.add()
    const ticket = mesh.mustPick()
    const wait = (timeoutMs: number) => mesh.router.wait(mesh.service, 0, 0, 5, timeoutMs, mesh.nowUs)
    for (const timeoutMs of [Number.NaN, -1, Number.POSITIVE_INFINITY])
      expect(wait(timeoutMs)).toMatchObject({ status: Status.InvalidArgument })
    wait(50)
    expect([mesh.router.nextDeadline(), mesh.router.tick(49_999), mesh.router.tick(50_000)]).toEqual([50_000, [], [5]])
    expect(mesh.router.takeGrants(5, 8)).toMatchObject([{ waitId: 1, result: Status.DeadlineExceeded }])
    mesh.complete(ticket, Outcome.Rejected)
    expect(mesh.pick()).toBe(Status.Saturated)
    wait(1_000)
    mesh.nowUs = 200_000
    expect([mesh.router.nextDeadline(), mesh.router.tick(mesh.nowUs)]).toEqual([200_000, [5]])
    expect(mesh.router.takeGrants(5, 8)[0]?.result).toBeGreaterThan(0)
    wait(1_000)
    mesh.update(instance, { concurrency: 2 })
    expect(mesh.router.takeGrants(5, 8)[0]?.result).toBeGreaterThan(0)
    wait(1_000)
    mesh.router.removeService(mesh.service, 0)
    expect(mesh.router.takeGrants(5, 8)[0]?.result).toBe(Status.NotFound)
  })

  it('leaks neither ticket nor place when its thread dies', () => {
    const mesh = new VirtualMesh({ concurrency: 1 })
    const instance = mesh.add({}, 9)
    const ticket = mesh.mustPick()
    for (let n = 0; n < 2; n++) mesh.router.wait(mesh.service, 0, 0, 2, 1_000, 0)
    mesh.complete(ticket)
    expect(mesh.info(instance).inFlight).toBe(1)
    mesh.router.threadEnded(2, 0)
    expect([mesh.info(instance).inFlight, mesh.router.takeGrants(2, 8)]).toEqual([0, []])
    const last = mesh.mustPick()
    mesh.router.threadEnded(9, 0)
    expect([mesh.pick(), mesh.complete(last, Outcome.Unknown)]).toEqual([Status.NoInstance, 0])
  })
})

describe('time', () => {
  it('closes a forgotten ticket as unknown', () => {
    const mesh = new VirtualMesh({ ticketLeaseMs: 1_000, breaker: { consecutiveFailures: 1 } })
    const instance = mesh.add()
    mesh.nowUs = 400_000
    const ticket = mesh.mustPick()
    mesh.router.tick(1_000_000)
    expect(mesh.info(instance).inFlight).toBe(1)
    expect(mesh.router.nextDeadline()).toBe(1_400_000)
    mesh.router.tick(1_400_000)
    mesh.nowUs = 1_400_000
    expect([mesh.info(instance).inFlight, mesh.complete(ticket), mesh.pick()]).toEqual([
      0,
      Status.StaleTicket,
      Status.BreakerOpen,
    ])
  })

  it('removes an instance with its lease, and logs breakers before what comes after', () => {
    const mesh = new VirtualMesh({ breaker: { consecutiveFailures: 1, probes: 1 } })
    mesh.add({ leaseMs: 2_000 })
    mesh.complete(mesh.mustPick(), Outcome.Error)
    mesh.nowUs = 1_000_000
    mesh.complete(mesh.mustPick())
    mesh.router.tick(2_000_000)
    expect(mesh.events().map(({ kind }) => kind)).toEqual([
      'service-added',
      'instance-added',
      'breaker',
      'breaker',
      'breaker',
      'lease-expired',
    ])
    expect(mesh.events().flatMap((event) => (event.kind === 'breaker' ? [event.to] : []))).toEqual([
      'open',
      'half-open',
      'closed',
    ])
  })
})

describe('what it takes and tells', () => {
  it.each([
    ['{"breaker":{"openMs":0}}', Status.InvalidArgument, 'policy.breaker.openMs', 1],
    ['{"breaker":{"openMs":100,"maxOpenMs":50}}', Status.InvalidArgument, 'policy.breaker.maxOpenMs', 100],
    ['{"breaker":{"concurrentProbes":9}}', Status.InvalidArgument, 'policy.breaker.concurrentProbes', 8],
    ['{"retry":{"budget":1.5}}', Status.InvalidArgument, 'policy.retry.budget', 1],
    ['{"retry":{"wat":1}}', Status.InvalidArgument, 'policy.retry.wat', undefined],
    ['{"balancer":"magic"}', Status.InvalidArgument, 'policy.balancer', undefined],
    ['{"__proto__":{}}', Status.InvalidArgument, 'policy.__proto__', undefined],
    ['[]', Status.InvalidArgument, 'policy', undefined],
  ])('refuses %s', (policy, status, field, limit) => {
    const mesh = new VirtualMesh()
    expect(refusal(() => mesh.router.defineService('a', policy, 0))).toEqual({
      status,
      field,
      ...(limit === undefined ? {} : { limit }),
    })
    expect(mesh.router.findService('a')).toBeUndefined()
  })

  it('refuses a lease that is no whole number of milliseconds', () => {
    const mesh = new VirtualMesh()
    const instance = mesh.add()
    expect(refusal(() => mesh.router.renew(instance, 0.5, 0))).toEqual({
      status: Status.InvalidArgument,
      field: 'leaseMs',
    })
    expect(refusal(() => mesh.router.renew(instance, -1, 0))).toMatchObject({ field: 'leaseMs', limit: 1 })
    expect(refusal(() => mesh.router.renew(12345, 1, 0))).toMatchObject({ status: Status.StaleHandle })
  })

  it('fills its information and metrics', () => {
    const mesh = new VirtualMesh({ breaker: { openMs: 60_000, consecutiveFailures: 1 } })
    mesh.add({ address: 'http://10.0.0.7:8080' })
    mesh.complete(mesh.mustPick(), Outcome.Timeout, 5_000_000)
    const info = JSON.parse(mesh.router.serviceInfoJson(mesh.service, mesh.nowUs)) as ServiceInfo
    expect(info.policy.breaker).toMatchObject({ openMs: 60_000, maxOpenMs: 60_000, probes: 3 })
    expect(info.latency.count).toBe(1)
    expect(Math.abs(info.latency.p50Us / 5_000_000 - 1)).toBeLessThan(0.011)
    expect(info.instances[0]).toMatchObject({ breaker: 'open', failed: 1 })
    const collector = new MetricCollector()
    mesh.router.collectMetrics(collector)
    const text = renderText(collector.families(), 'prometheus')
    for (const line of [
      'linkmesh_requests_total{service="orders",instance="http://10.0.0.7:8080",outcome="timeout"} 1',
      'linkmesh_breaker_state{service="orders",instance="http://10.0.0.7:8080"} 1',
      'linkmesh_request_duration_seconds_count{service="orders"} 1',
      'linkmesh_queue_depth{service="orders"} 0',
    ])
      expect(text).toContain(line)
  })
})
