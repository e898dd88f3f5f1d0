/** What goes wrong in other routers, held shut in the fallback too. Each test is named by the trap. */
import { expect, it } from 'vitest'
import { Outcome, Status } from '../../ts/binding/contract.js'
import { VirtualMesh } from './fallback-routing-mesh.js'

interface UnderWay {
  readonly endUs: number
  readonly ticket: number
  readonly outcome: Outcome
  readonly latencyUs: number
}

/** A request a millisecond, each ends as `behave` says of its instance. Picks per instance. */
function openLoop(mesh: VirtualMesh, milliseconds: number, behave: (instance: number) => [Outcome, number]) {
  let underWay: UnderWay[] = []
  const picks = new Map<number, number>()
  const end = ({ ticket, outcome, latencyUs }: UnderWay) => mesh.complete(ticket, outcome, latencyUs)
  for (let n = 0; n < milliseconds; n++) {
    mesh.nowUs += 1_000
    for (const request of underWay) if (request.endUs <= mesh.nowUs) end(request)
    underWay = underWay.filter((request) => request.endUs > mesh.nowUs)
    const ticket = mesh.pick()
    if (ticket < 0) continue
    const { instance } = mesh.picked
    const [outcome, latencyUs] = behave(instance)
    picks.set(instance, (picks.get(instance) ?? 0) + 1)
    underWay.push({ endUs: mesh.nowUs + latencyUs, ticket, outcome, latencyUs })
  }
  underWay.forEach(end)
  return picks
}

it('half-open stampede', () => {
  const mesh = new VirtualMesh({ breaker: { consecutiveFailures: 1 } })
  mesh.add()
  mesh.complete(mesh.mustPick(), Outcome.Unreachable)
  mesh.nowUs = 1_000_000
  const picks = Array.from({ length: 1_000 }, () => mesh.pick())
  expect(picks.filter((ticket) => ticket > 0)).toHaveLength(1)
  expect(new Set(picks.slice(1))).toEqual(new Set([Status.BreakerOpen]))
})

it('wedged probe', () => {
  const mesh = new VirtualMesh({ breaker: { consecutiveFailures: 1, probes: 1, probeLeaseMs: 500 } })
  mesh.add()
  mesh.complete(mesh.mustPick(), Outcome.Error)
  mesh.nowUs = 1_000_000
  const forgotten = mesh.mustPick()
  expect([mesh.pick(), mesh.picked.retryAfterMs]).toEqual([Status.BreakerOpen, 500])
  mesh.nowUs += 500_000
  const second = mesh.mustPick()
  expect(mesh.picked.probe).toBe(true)
  mesh.complete(second)
  mesh.mustPick()
  expect(mesh.picked.probe).toBe(false)
  mesh.complete(forgotten, Outcome.Error)
  mesh.mustPick()
})

it('each failed probe doubles the open time, to the maximum', () => {
  const mesh = new VirtualMesh({ breaker: { consecutiveFailures: 1, openMs: 1_000, maxOpenMs: 5_000 } })
  mesh.add()
  mesh.complete(mesh.mustPick(), Outcome.Error)
  for (const seconds of [1, 2, 4, 5, 5]) {
    expect(mesh.pick()).toBe(Status.BreakerOpen)
    expect(mesh.picked.retryAfterMs).toBe(seconds * 1_000)
    mesh.nowUs += seconds * 1_000_000
    mesh.complete(mesh.mustPick(), Outcome.Error)
  }
})

it.each(['least-request', 'peak-ewma'])('fast errors attract load: %s', (balancer) => {
  const mesh = new VirtualMesh({ balancer, breaker: { enabled: false } })
  const sinkhole = mesh.add()
  for (let n = 0; n < 3; n++) mesh.add()
  const picks = openLoop(mesh, 20_000, (instance) =>
    instance === sinkhole ? [Outcome.Error, 100] : [Outcome.Ok, 20_000],
  )
  expect((picks.get(sinkhole) ?? 0) / 20_000).toBeLessThan(0.02)
})

it.each(['round-robin', 'weighted', 'least-request', 'peak-ewma'])('rejections attract load: %s', (balancer) => {
  const mesh = new VirtualMesh({ balancer, rejectedMs: 100 })
  const limited = mesh.add()
  for (let n = 0; n < 3; n++) mesh.add()
  const picks = openLoop(mesh, 10_000, (instance) =>
    instance === limited ? [Outcome.Rejected, 100] : [Outcome.Ok, 5_000],
  )
  expect(picks.get(limited)).toBeGreaterThanOrEqual(1)
  expect(picks.get(limited)).toBeLessThanOrEqual(101)
})

it.each(['round-robin', 'weighted'])('double load after a failed one: %s', (balancer) => {
  const mesh = new VirtualMesh({ balancer, breaker: { consecutiveFailures: 1, openMs: 3_600_000 } })
  const instances = Array.from({ length: 4 }, () => mesh.add())
  const ticket = mesh.mustPick()
  const failed = mesh.picked.instance
  mesh.complete(ticket, Outcome.Error)
  const counts = mesh.spread(3_000)
  for (const survivor of instances.filter((instance) => instance !== failed))
    expect(Math.abs((counts.get(survivor) ?? 0) - 1_000)).toBeLessThanOrEqual(10)
})

it('a success rate hides a burst', () => {
  const mesh = new VirtualMesh()
  mesh.add()
  mesh.spread(50_000)
  for (let n = 0; n < 5; n++) mesh.complete(mesh.mustPick(), Outcome.Error)
  expect(mesh.pick()).toBe(Status.BreakerOpen)
})

it.each(['round-robin', 'weighted', 'least-request', 'peak-ewma'])('the clock steps back: %s', (balancer) => {
  const mesh = new VirtualMesh({ balancer, breaker: { consecutiveFailures: 1, probes: 1 }, rejectedMs: 60_000 })
  mesh.nowUs = 5_000_000_000
  mesh.add()
  mesh.add()
  const [a, b] = [mesh.mustPick(), mesh.mustPick()]
  mesh.nowUs = 1_000
  mesh.complete(a, Outcome.Ok, -1)
  mesh.complete(b, Outcome.Error, -1)
  mesh.router.tick(mesh.nowUs)
  for (let n = 0; n < 100; n++) mesh.complete(mesh.mustPick(), Outcome.Ok, -1)
  mesh.nowUs = 3_000_000
  expect(mesh.spread(200).size).toBe(2)
})

it('an absurd latency wins or blocks nothing', () => {
  const mesh = new VirtualMesh({ balancer: 'peak-ewma' })
  const [odd, even] = [mesh.add(), mesh.add()]
  for (const latency of [1e300, 0, -1e300, 0.5]) {
    for (let n = 0; n < 20; n++) {
      const ticket = mesh.mustPick()
      mesh.complete(ticket, Outcome.Ok, mesh.picked.instance === odd ? latency : 1_000)
    }
  }
  expect(Number.isFinite(mesh.info(odd).latencyUs)).toBe(true)
  mesh.nowUs += 1_000_000_000
  expect(mesh.spread(100).has(even)).toBe(true)
})

it('retries multiply by layers', () => {
  const mesh = new VirtualMesh({
    retry: { minPerSecond: 0, limit: 10, budget: 0.1 },
    breaker: { enabled: false },
  })
  mesh.add()
  let retried = 0
  for (let request = 0; request < 1_000; request++) {
    // Three layers, each of which tries again, and so does every retry.
    for (let attempts = 1; attempts > 0; attempts--) {
      mesh.complete(mesh.mustPick(), Outcome.Error)
      for (let attempt = 1; attempt <= 3; attempt++) {
        if (mesh.router.retry(mesh.service, attempt, mesh.rng, mesh.nowUs) < 0) continue
        retried += 1
        attempts += 1
      }
    }
  }
  expect(retried).toBe(100)
})
