/** What happens to a message: balancers, limits, breakers, queue, retries, leases and explanations, at a manual clock. */
import { expect, it } from 'vitest'
import { type Explanation, Outcome, Scratch, Status } from '../../ts/binding/contract.js'
import { onBothBackends, refusal } from './backends.js'
import { openMesh } from './open-mesh.js'

onBothBackends('router', (binding) => {
  /** A service with so many instances by address. */
  const routed = (policy: object, ...specs: object[]) => {
    const opened = openMesh(binding())
    const { b, mesh } = opened
    const service = opened.define('a', policy)
    const instances = specs.map((spec, i) => opened.add(service, { address: `http://${i}`, ...spec }))
    const scratch = b.scratch()
    const pick = (key = 0) => b.pick(mesh, service, key)
    return {
      ...opened,
      service,
      instances,
      pick,
      chosen: () => scratch[Scratch.Instance] as number,
      retryAfterMs: () => scratch[Scratch.RetryAfterMs] as number,
      probe: () => scratch[Scratch.Probe] as number,
      end: (ticket: number, outcome: Outcome = Outcome.Ok, latencyUs = 100) =>
        b.complete(mesh, ticket, outcome, latencyUs),
      /** So many picks, each completed at once: how often each instance was chosen. */
      shares: (picks: number, key = 0) => {
        const counts = new Map(instances.map((handle) => [handle, 0]))
        for (let i = 0; i < picks; i++) {
          const ticket = pick(key)
          expect(ticket).toBeGreaterThan(0)
          counts.set(scratch[Scratch.Instance] as number, (counts.get(scratch[Scratch.Instance] as number) ?? 0) + 1)
          expect(b.complete(mesh, ticket, Outcome.Ok, 100)).toBe(0)
        }
        return [...counts.values()]
      },
    }
  }

  it('balances: in turn, by weight, by load, by latency', () => {
    expect(routed({ balancer: 'round-robin' }, {}, {}, {}).shares(300)).toEqual([100, 100, 100])
    expect(routed({ balancer: 'weighted' }, { weight: 5 }, { weight: 1 }, { weight: 2 }).shares(800)).toEqual([
      500, 100, 200,
    ])
    for (const balancer of ['least-request', 'peak-ewma']) {
      for (const share of routed({ balancer }, {}, {}, {}, {}).shares(4_000))
        expect(share, balancer).toBeGreaterThan(600)
    }
    const { instances, pick, chosen } = routed({ balancer: 'least-request' }, {}, {})
    const load = new Map(instances.map((handle) => [handle, 0]))
    for (let i = 0; i < 100; i++) {
      pick()
      load.set(chosen(), (load.get(chosen()) ?? 0) + 1)
    }
    // Two of two are compared, so open requests never lie apart by more than one.
    expect([...load.values()]).toEqual([50, 50])
  })

  it('keeps a key on one instance while that is eligible', () => {
    const { instances, pick, chosen, b, mesh, end } = routed({}, {}, {}, {}, {})
    const homes = new Map<number, number>()
    for (let key = 1; key <= 400; key++) {
      for (let i = 0; i < 3; i++) {
        end(pick(key))
        expect(homes.get(key) ?? chosen()).toBe(chosen())
        homes.set(key, chosen())
      }
    }
    for (const instance of instances)
      expect([...homes.values()].filter((home) => home === instance).length).toBeGreaterThan(50)
    const [gone] = instances
    b.instanceUpdate(mesh, gone as number, '{"health":"draining"}')
    for (const [key, home] of homes) {
      end(pick(key))
      if (home !== gone) expect(chosen()).toBe(home)
      else expect(chosen()).not.toBe(gone)
    }
  })

  it('says why nothing can be picked', () => {
    const { b, mesh, service, instances, pick, retryAfterMs } = routed({ concurrency: 1 }, {})
    expect(b.pick(mesh, service + (1 << 17), 0)).toBe(Status.StaleHandle)
    expect(pick()).toBeGreaterThan(0)
    expect(pick()).toBe(Status.Saturated)
    expect(retryAfterMs()).toBeGreaterThan(0)
    b.instanceUpdate(mesh, instances[0] as number, '{"health":"draining"}')
    expect(pick()).toBe(Status.Draining)
    b.instanceUpdate(mesh, instances[0] as number, '{"health":"dead"}')
    expect(pick()).toBe(Status.NoInstance)
    b.instanceRemove(mesh, instances[0] as number)
    expect(pick()).toBe(Status.NoInstance)
  })

  it('takes each ticket once', () => {
    const { pick, end, b, mesh } = routed({}, {})
    const ticket = pick()
    expect(end(ticket)).toBe(0)
    expect(end(ticket)).toBe(Status.StaleTicket)
    for (const forged of [0, 1, ticket + 1, ticket + 2 ** 20, 2 ** 53 - 1]) expect(end(forged)).toBe(Status.StaleTicket)
    for (const bad of [-1, Number.NaN, 2 ** 53]) expect(end(bad)).toBe(Status.InvalidArgument)
    expect(b.complete(mesh, pick(), 7 as Outcome, 1)).toBe(Status.InvalidArgument)
    expect(end(pick(), Outcome.Ok, Number.NaN)).toBe(Status.InvalidArgument)
  })

  it('takes many tickets at once, and each of them once', () => {
    const { pick, end, b, mesh } = routed({}, {})
    const tickets = Float64Array.from([pick(), pick(), 7, pick(), Number.NaN, pick()])
    expect(end(tickets[1] as number)).toBe(0)
    expect(b.completeMany(mesh, tickets, 4, Outcome.Ok)).toBe(2)
    expect(b.completeMany(mesh, tickets, 6, Outcome.Ok)).toBe(1)
    expect(b.completeMany(mesh, tickets, 0, Outcome.Ok)).toBe(0)
    expect(b.completeMany(mesh, tickets, 7, Outcome.Ok)).toBe(Status.InvalidArgument)
    expect(b.completeMany(mesh, tickets, 1, 7 as Outcome)).toBe(Status.InvalidArgument)
    expect(b.completeMany(mesh + 1, tickets, 1, Outcome.Ok)).toBe(Status.StaleHandle)
  })

  it('opens a breaker, admits leased probes, and closes or opens it for longer', () => {
    const breaker = {
      consecutiveFailures: 3,
      openMs: 1_000,
      maxOpenMs: 8_000,
      probes: 2,
      concurrentProbes: 1,
      probeLeaseMs: 500,
    }
    const { pick, end, probe, instance, instances, advanceMs, events, retryAfterMs } = routed({ breaker }, {})
    const [handle = 0] = instances
    for (let i = 0; i < 3; i++) end(pick(), Outcome.Error)
    expect(instance(handle).breaker).toBe('open')
    expect(pick()).toBe(Status.BreakerOpen)
    expect(retryAfterMs()).toBe(1_000)
    advanceMs(1_000)
    const first = pick()
    expect([first > 0, probe()]).toEqual([true, 1])
    // One probe at a time; its place is free again when nobody reports.
    expect(pick()).toBe(Status.BreakerOpen)
    advanceMs(500)
    const second = pick()
    expect(second).toBeGreaterThan(0)
    expect(end(second, Outcome.Timeout)).toBe(0)
    expect(instance(handle).breaker).toBe('open')
    advanceMs(1_999)
    expect(pick()).toBe(Status.BreakerOpen)
    advanceMs(1)
    end(pick())
    expect(instance(handle).breaker).toBe('half-open')
    end(pick())
    expect(instance(handle).breaker).toBe('closed')
    const changes = events().events.flatMap((event) => (event.kind === 'breaker' ? [`${event.from}>${event.to}`] : []))
    expect(changes).toEqual(['closed>open', 'open>half-open', 'half-open>open', 'open>half-open', 'half-open>closed'])
  })

  it('leaves an instance alone that answered Rejected', () => {
    const { pick, end, chosen, advanceMs, instances } = routed({ balancer: 'round-robin', rejectedMs: 100 }, {}, {})
    const ticket = pick()
    const busy = chosen()
    end(ticket, Outcome.Rejected)
    for (let i = 0; i < 20; i++) {
      end(pick())
      expect(chosen()).not.toBe(busy)
    }
    advanceMs(100)
    const later = new Set<number>()
    for (let i = 0; i < 4; i++) {
      end(pick())
      later.add(chosen())
    }
    expect(later).toEqual(new Set(instances))
  })

  it('queues in order, grants real tickets, refuses when full and at the deadline', () => {
    const { b, mesh, service, pick, end, advanceMs } = routed({ concurrency: 1, queueLimit: 2 }, {})
    const held = pick()
    const wait = (ms: number) => b.wait(mesh, service, 0, ms, 0)
    const [first, second] = [wait(1_000), wait(1_000)]
    expect(wait(1_000)).toBe(Status.QueueFull)
    expect(wait(-1)).toBe(Status.InvalidArgument)
    const out = new Float64Array(16)
    expect(b.grants(mesh, out)).toBe(0)
    end(held)
    expect(b.grants(mesh, out)).toBe(1)
    expect(out[0]).toBe(first)
    expect(b.waitCancel(mesh, first)).toBe(Status.StaleTicket)
    expect(refusal(b)).toEqual({ status: Status.StaleTicket, field: 'waitId' })
    const third = wait(100)
    expect(b.waitCancel(mesh, second)).toBe(0)
    advanceMs(100)
    expect(b.grants(mesh, out.fill(0))).toBe(1)
    expect([...out.subarray(0, 4)]).toEqual([third, Status.DeadlineExceeded, 0, 0])
    const fourth = wait(50)
    b.serviceRemove(mesh, service)
    expect(b.grants(mesh, out.fill(0))).toBe(1)
    expect([out[0], out[1]]).toEqual([fourth, Status.NotFound])
  })

  it('allows retries within the budget, with backoff', () => {
    const { b, mesh, service, pick, end, advanceMs } = routed(
      { retry: { limit: 2, budget: 0.2, minPerSecond: 0, minBackoffMs: 5, maxBackoffMs: 50 } },
      {},
    )
    for (let i = 0; i < 100; i++) end(pick())
    let allowed = 0
    for (let i = 0; i < 100; i++) {
      const backoff = b.retry(mesh, service, 1 + (i % 2))
      if (backoff < 0) continue
      allowed++
      expect(backoff).toBeGreaterThanOrEqual(5)
      expect(backoff).toBeLessThanOrEqual(50)
    }
    expect(allowed).toBeGreaterThanOrEqual(10)
    expect(allowed).toBeLessThanOrEqual(20)
    expect(b.retry(mesh, service, 3)).toBe(-1)
    expect(b.retry(mesh, service, 0)).toBe(-1)
    advanceMs(60_000)
    expect(b.retry(mesh, service + (1 << 17), 1)).toBe(-1)
  })

  it('ends a ticket that nobody completed', () => {
    const { pick, end, advanceMs, instance, instances } = routed({ ticketLeaseMs: 1_000 }, {})
    const ticket = pick()
    advanceMs(999)
    expect(instance(instances[0] as number).inFlight).toBe(1)
    advanceMs(1_001)
    expect(instance(instances[0] as number)).toMatchObject({ inFlight: 0, failed: 1 })
    expect(end(ticket)).toBe(Status.StaleTicket)
  })

  it('remembers the latest picks, oldest first, of services that are still there', () => {
    const { b, mesh, service, pick, end, chosen } = routed({}, {}, {})
    const made = Array.from({ length: 1_100 }, (_, index) => {
      b.meshAdvance(mesh, 10)
      const ticket = pick(index)
      end(ticket)
      return { service: 'a', atUs: (index + 1) * 10, keyHash: index, instance: chosen() }
    })
    expect(JSON.parse(b.recordedPicks(mesh))).toEqual(made.slice(-1_024))
    b.serviceRemove(mesh, service)
    expect(b.recordedPicks(mesh)).toBe('[]')
  })

  it('explains a pick as things were', () => {
    const { b, mesh, pick, instances, service, chosen, end } = routed({ balancing: { fullScan: true } }, {}, {}, {})
    b.instanceUpdate(mesh, instances[1] as number, '{"health":"draining"}')
    const ticket = pick()
    const picked = chosen()
    end(ticket)
    b.serviceDefine(mesh, 'other', '')
    const explanation = JSON.parse(b.explain(mesh, ticket)) as Explanation
    expect(explanation).toMatchObject({
      ticket,
      service: 'a',
      balancer: 'least-request',
      keyHash: 0,
      chosen: picked,
      rest: 0,
    })
    expect(explanation.candidates.find(({ instance }) => instance === instances[1])).toMatchObject({
      filter: 'draining',
      health: 'draining',
    })
    expect(explanation.candidates.find(({ instance }) => instance === picked)).toMatchObject({
      filter: null,
      breaker: 'closed',
    })
    expect(b.explain(mesh, 12_345)).toBe('')
    for (let i = 0; i < 1_100; i++) end(pick())
    expect(b.explain(mesh, ticket)).toBe('')
    expect(service).toBeGreaterThan(0)
  })

  it('explains a pick with a key by those that were asked, and shows the others as they are', () => {
    const balancers = ['least-request', 'adaptive', 'consistent-hash', 'maglev', 'rendezvous'] as const
    for (const balancer of balancers) {
      const fleet = Array.from({ length: 70 }, (_, n) => ({ address: `http://10.0.0.${n}` }))
      const { b, mesh, pick, chosen, instances } = routed({ balancer, concurrency: 1 }, ...fleet)
      pick(77)
      const home = chosen()
      const ticket = pick(77)
      const explained = () => JSON.parse(b.explain(mesh, ticket)) as Explanation
      const { candidates, rest } = explained()
      const asked = candidates.filter((one) => one.asked !== null)
      expect(asked.map((one) => one.asked)).toEqual(asked.map((_, index) => index + 1))
      expect(candidates[0]).toMatchObject({ instance: home, filter: 'at-limit', inFlight: 1 })
      expect(asked.map((one) => one.instance)).toContain(chosen())
      expect([candidates.length, rest]).toEqual([64, 6])
      expect(new Set(candidates.map((one) => one.instance)).size).toBe(64)
      const idle = candidates.at(-1)
      expect(idle).toMatchObject({ asked: null, filter: null })
      b.instanceUpdate(mesh, idle?.instance as number, '{"health":"draining"}')
      expect(explained().candidates.at(-1)).toEqual({ ...idle, filter: 'draining', health: 'draining' })
      expect(instances).toHaveLength(70)
    }
  })

  it('survives a clock that steps back', () => {
    const { pick, end, advanceMs, instance, instances } = routed({}, {})
    advanceMs(10_000)
    const ticket = pick()
    advanceMs(-5_000)
    expect(end(ticket, Outcome.Ok, -1)).toBe(0)
    for (let i = 0; i < 50; i++) expect(end(pick(), i % 4 === 0 ? Outcome.Error : Outcome.Ok, -1)).toBe(0)
    const { latencyUs, inFlight } = instance(instances[0] as number)
    expect(Number.isFinite(latencyUs)).toBe(true)
    expect(inFlight).toBe(0)
  })
})
