/** Classes of service, shedding, watermarks, rejections with a time, hedges: the same on both backends, at a manual clock. */
import { expect, it } from 'vitest'
import { type Explanation, Outcome, Qos, type QosClass, Scratch, Status } from '../../ts/binding/contract.js'
import { onBothBackends, refusal, rendered } from './backends.js'
import { openMesh } from './open-mesh.js'

onBothBackends('classes of service', (binding) => {
  const routed = (policy: object, instances = 1) => {
    const opened = openMesh(binding())
    const { b, mesh } = opened
    const service = opened.define('a', policy)
    const handles = Array.from({ length: instances }, (_, i) => opened.add(service, { address: `http://${i}` }))
    const out = new Float64Array(64)
    return {
      ...opened,
      service,
      handles,
      info: () => opened.service(service),
      pick: (qos: Qos = 0) => b.pick(mesh, service, 0, qos),
      wait: (qos: Qos) => b.wait(mesh, service, 0, 10_000, qos),
      end: (ticket: number, outcome: Outcome = Outcome.Ok, latencyUs = 100) =>
        b.complete(mesh, ticket, outcome, latencyUs),
      chosen: () => b.scratch()[Scratch.Instance] as number,
      grants: () => {
        const count = b.grants(mesh, out)
        return Array.from({ length: count }, (_, i) => [...out.subarray(4 * i, 4 * i + 4)] as number[])
      },
    }
  }

  it('lets a class in up to its share, and explains by which class an instance was picked', () => {
    const { b, mesh, pick } = routed({
      concurrency: 4,
      qos: { class: 'high-throughput', shares: { 'high-throughput': 0.5 } },
    })
    const picked = [pick(), pick(Qos.HighThroughput)]
    expect(pick()).toBe(Status.Saturated)
    const critical = pick(Qos.Critical)
    const qosOf = (ticket: number): QosClass => (JSON.parse(b.explain(mesh, ticket)) as Explanation).qos
    expect(picked.map(qosOf)).toEqual(['high-throughput', 'high-throughput'])
    expect(qosOf(critical)).toBe('critical')
    expect(pick(6 as Qos)).toBe(Status.InvalidArgument)
    expect(b.wait(mesh, 1, 0, 1, 6 as Qos)).toBe(Status.InvalidArgument)
    expect(refusal(b)).toEqual({ status: Status.InvalidArgument, field: 'qos', limit: 5 })
  })

  it('serves the most urgent first and sheds the lowest when the queue is full', async () => {
    const { b, mesh, pick, wait, end, grants, info } = routed({
      concurrency: 1,
      queueLimit: 3,
      backpressure: 'shed-lowest',
    })
    const held = pick()
    const low = wait(Qos.BestEffort)
    const reliable = wait(Qos.HighReliability)
    const fast = wait(Qos.LowLatency)
    expect(wait(Qos.BestEffort)).toBe(Status.QueueFull)
    expect(b.scratch()[Scratch.RetryAfterMs]).toBeGreaterThan(0)
    const critical = wait(Qos.Critical)
    const [shed] = grants()
    expect(shed?.slice(0, 2)).toEqual([low, Status.QueueFull])
    expect(shed?.[2], 'when to come back').toBeGreaterThan(0)
    let ticket = held
    for (const next of [critical, fast, reliable]) {
      end(ticket)
      const [grant] = grants()
      expect(grant?.[0]).toBe(next)
      ticket = grant?.[1] as number
    }
    expect(info().shed).toEqual({ 'best-effort': 2 })
    const metrics = await rendered(b, mesh, 'prometheus')
    expect(metrics).toContain('linkmesh_shed_total{service="a",qos="best-effort"} 2')
    expect(metrics).toContain('linkmesh_shed_total{service="a",qos="critical"} 0')
  })

  it('counts who waits by an older policy as shed once, and sends nobody away for it', () => {
    for (const policy of [{ backpressure: 'reject' }, { queueLimit: 0 }]) {
      const { define, pick, wait, grants, info } = routed({
        concurrency: 1,
        queueLimit: 2,
        backpressure: 'drop-oldest',
      })
      pick()
      wait(Qos.Critical)
      define('a', { concurrency: 1, ...policy })
      expect(pick(Qos.Critical)).toBe(Status.Saturated)
      expect(wait(Qos.Critical)).toBe(Status.Saturated)
      expect(info().shed).toEqual({ critical: 1 })
      expect(grants()).toEqual([])
    }
  })

  it('says once when a queue fills, and once when it has emptied', () => {
    const { events, pick, wait, b, mesh } = routed({
      concurrency: 1,
      queueLimit: 4,
      watermarks: { high: 0.75, low: 0.25 },
    })
    pick()
    const waits = Array.from({ length: 4 }, () => wait(Qos.Default))
    for (const id of waits) b.waitCancel(mesh, id)
    const marks = events().events.filter((event) => event.kind === 'backpressure')
    expect(marks).toMatchObject([
      { service: 'a', level: 'high', queued: 3, limit: 4 },
      { service: 'a', level: 'low', queued: 1, limit: 4 },
    ])
  })

  it('leaves an instance alone for as long as its rejection says, and at least as long as the policy', () => {
    const { b, mesh, pick, advanceMs } = routed({ rejectedMs: 100, backpressure: 'reject' })
    const reject = (retryAfterMs: number) => {
      expect(b.completeRejected(mesh, pick(), -1, retryAfterMs)).toBe(0)
      expect(pick()).toBe(Status.Saturated)
    }
    reject(2_000)
    advanceMs(1_999)
    expect(pick()).toBe(Status.Saturated)
    advanceMs(1)
    reject(5)
    advanceMs(99)
    expect(pick()).toBe(Status.Saturated)
    advanceMs(1)
    reject(1e12)
    advanceMs(299_999)
    expect(pick(), 'at most five minutes').toBe(Status.Saturated)
    advanceMs(1)
    expect(pick()).toBeGreaterThan(0)
    expect(b.completeRejected(mesh, 0, -1, 1)).toBe(Status.StaleTicket)
    expect(b.completeRejected(mesh, 0, -1, Number.NaN)).toBe(Status.InvalidArgument)
  })

  it('hedges low-latency and critical requests after the 95th percentile, elsewhere, within the budget', () => {
    const { b, mesh, service, pick, end, chosen, info } = routed({ hedge: { enabled: true, budget: 0.1 } }, 3)
    const after = (qos: Qos = Qos.Critical) => b.hedgeAfter(mesh, service, qos)
    for (let i = 0; i < 99; i++) end(pick(), Outcome.Ok, i < 92 ? 1_000 : 50_000)
    expect(after(), 'too few latencies').toBe(Status.NoMatch)
    end(pick(), Outcome.Ok, 50_000)
    b.meshAdvance(mesh, 100_000)
    expect(Math.abs(after() - 50_000)).toBeLessThan(1_000)
    expect(after(Qos.LowLatency)).toBe(after())
    for (const qos of [Qos.Default, Qos.HighThroughput, Qos.HighReliability]) expect(after(qos)).toBe(Status.NoMatch)
    const first = pick(Qos.Critical)
    const instance = chosen()
    const second = b.hedge(mesh, service, instance, Qos.Critical)
    expect(second).toBeGreaterThan(0)
    expect(chosen()).not.toBe(instance)
    expect((JSON.parse(b.explain(mesh, second)) as Explanation).hedge).toBe(true)
    expect((JSON.parse(b.explain(mesh, first)) as Explanation).hedge).toBe(false)
    expect(b.hedge(mesh, service, instance, Qos.HighThroughput)).toBe(Status.NoMatch)
    let granted = 1
    while (b.hedge(mesh, service, instance, Qos.Critical) > 0) granted++
    expect(granted, 'a tenth of 101 requests').toBe(10)
    expect(info().hedges).toBe(10)
  })

  it('has no second instance where there is one, and none of a service that does not hedge', () => {
    const alone = routed({ hedge: { enabled: true, budget: 1 } })
    for (let i = 0; i < 20; i++) alone.end(alone.pick())
    alone.pick(Qos.Critical)
    expect(alone.b.hedge(alone.mesh, alone.service, alone.chosen(), Qos.Critical)).toBe(Status.NoMatch)
    const usual = routed({}, 2)
    for (let i = 0; i < 200; i++) usual.end(usual.pick())
    expect(usual.b.hedgeAfter(usual.mesh, usual.service, Qos.Critical)).toBe(Status.NoMatch)
    expect(usual.b.hedge(usual.mesh, usual.service, usual.handles[0] as number, Qos.Critical)).toBe(Status.NoMatch)
    expect(usual.b.hedge(usual.mesh, usual.service + (1 << 17), 0, Qos.Critical)).toBe(Status.StaleHandle)
  })

  it('learns from the loser of a race that it was slow, and nothing good', () => {
    const { handles, instance, pick, end, chosen } = routed({ balancer: 'peak-ewma' })
    end(pick(), Outcome.Ok, 1_000)
    const estimate = () => instance(handles[0] as number).latencyUs
    expect(estimate()).toBe(1_000)
    end(pick(), Outcome.Cancelled, 400)
    expect(estimate()).toBe(1_000)
    end(pick(), Outcome.Cancelled, -1)
    expect(estimate()).toBe(1_000)
    end(pick(), Outcome.Cancelled, 70_000)
    expect(estimate()).toBe(70_000)
    expect(chosen()).toBe(handles[0])
  })
})
