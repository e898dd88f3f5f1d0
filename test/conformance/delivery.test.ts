/** The order of requests with one key, and the ledger of idempotency keys: what the contract says of them, on each backend. */
import { expect, it } from 'vitest'
import { LedgerEntry, Scratch, Status } from '../../ts/binding/contract.js'
import { onBothBackends, refusal, rendered } from './backends.js'
import { type OpenMesh, openMesh } from './open-mesh.js'

/** (id, note) of what this thread was granted, all with ticket 0. */
function granted({ b, mesh }: OpenMesh): [number, number][] {
  const out = new Float64Array(4 * 16)
  const count = b.grants(mesh, out)
  return Array.from({ length: count }, (_, at) => {
    expect(out[4 * at + 1]).toBe(0)
    return [out[4 * at] as number, out[4 * at + 2] as number]
  })
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)

onBothBackends('order by key', (binding) => {
  it('gives turns one after the other, and tells the next when one was given up', () => {
    const on = openMesh(binding())
    const { b, mesh } = on
    const service = on.define('orders', { ordering: 'key', queueLimit: 2 })
    const scratch = b.scratch()
    const enter = (key: string): [id: number, waits: number, broken: number] => [
      b.orderEnter(mesh, service, key),
      scratch[Scratch.Entered] as number,
      scratch[Scratch.OrderBroken] as number,
    ]
    const [first, ...at] = enter('a')
    expect(at).toEqual([0, 0])
    const [second, waits] = enter('a')
    const [third] = enter('a')
    expect(waits).toBe(1)
    expect(enter('b').slice(1), 'another key').toEqual([0, 0])
    expect(b.orderEnter(mesh, service, 'a')).toBe(Status.QueueFull)
    expect(refusal(b)).toEqual({ status: Status.QueueFull, field: 'key', limit: 2 })
    expect(b.orderLeave(mesh, service, 'a', first, 1)).toBe(0)
    expect(granted(on)).toEqual([[second, 1]])
    expect(b.orderLeave(mesh, service, 'a', first, 0), 'left before').toBe(0)
    expect(b.orderLeave(mesh, service, 'a', second, 0)).toBe(0)
    expect(granted(on)).toEqual([[third, 0]])
    expect(b.orderLeave(mesh, service, 'a', third, 0)).toBe(0)
    expect(granted(on)).toEqual([])
    expect(enter('a').slice(1), 'one was refused meanwhile').toEqual([0, 1])
    expect(b.orderEnter(mesh, service + 1, 'a')).toBe(Status.StaleHandle)
    expect(refusal(b)?.field).toBe('service')
  })

  it('counts what waits and what broke an order', async () => {
    const on = openMesh(binding())
    const { b, mesh } = on
    const service = on.define('orders', { ordering: 'key' })
    const first = b.orderEnter(mesh, service, 'a')
    b.orderEnter(mesh, service, 'a')
    b.orderEnter(mesh, service, 'a')
    b.orderLeave(mesh, service, 'a', first, 1)
    const text = await rendered(b, mesh, 'prometheus')
    expect(text).toContain('linkmesh_order_waiting 1.0\n')
    expect(text).toContain('linkmesh_order_broken_total 1.0\n')
    expect(text).toContain('linkmesh_order_broken_forgotten_total 0.0\n')
  })
})

onBothBackends('idempotency keys', (binding) => {
  it('run the first, let repeats join it, and answer later ones with its result', async () => {
    const on = openMesh(binding())
    const { b, mesh } = on
    const service = on.define('payments')
    const scratch = b.scratch()
    const begin = (key: string): [id: number, entry: number] => [
      b.ledgerBegin(mesh, service, key),
      scratch[Scratch.Entered] as number,
    ]
    const [first, entry] = begin('pay-ü')
    expect(entry).toBe(LedgerEntry.First)
    expect(b.ledgerResult(mesh, service, 'pay-ü')).toBe(null)
    const [joined, joins] = begin('pay-ü')
    expect(joins).toBe(LedgerEntry.Joined)
    expect(b.ledgerSettle(mesh, service, 'pay-ü', first, bytes('paid'))).toBe(0)
    expect(granted(on)).toEqual([[joined, 0]])
    expect(begin('pay-ü')).toEqual([0, LedgerEntry.Settled])
    expect(Array.from(b.ledgerResult(mesh, service, 'pay-ü') ?? [])).toEqual(Array.from(bytes('paid')))
    // Settled once.
    expect(b.ledgerSettle(mesh, service, 'pay-ü', first, bytes('again'))).toBe(0)
    expect(b.ledgerForget(mesh, service, 'pay-ü', first)).toBe(0)
    expect(b.ledgerResult(mesh, service, 'pay-ü')?.length).toBe(4)
    const text = await rendered(b, mesh, 'prometheus')
    for (const line of ['hits_total{service="payments"} 1.0', 'joins_total{service="payments"} 1.0'])
      expect(text).toContain(`linkmesh_idempotency_${line}\n`)
    expect(text).toContain('linkmesh_idempotency_entries{service="payments"} 1.0\n')
    expect(text).toContain('linkmesh_idempotency_bytes{service="payments"} 138.0\n')
    expect(b.ledgerBegin(mesh, service + 1, 'a')).toBe(Status.StaleHandle)
  })

  it('are forgotten by time, by request, and for newer ones', () => {
    const on = openMesh(binding())
    const { b, mesh } = on
    const service = on.define('payments', { idempotency: { ttlMs: 1_000, maxEntries: 2, maxBytes: 1_024 } })
    const scratch = b.scratch()
    const first = (key: string): number => {
      const id = b.ledgerBegin(mesh, service, key)
      expect(scratch[Scratch.Entered], key).toBe(LedgerEntry.First)
      return id
    }
    b.ledgerSettle(mesh, service, 'a', first('a'), bytes('1'))
    on.advanceMs(999)
    expect(b.ledgerResult(mesh, service, 'a')).not.toBe(null)
    on.advanceMs(2)
    expect(b.ledgerResult(mesh, service, 'a')).toBe(null)
    b.ledgerForget(mesh, service, 'a', first('a'))
    const one = first('a')
    first('b')
    expect(b.ledgerBegin(mesh, service, 'c')).toBe(Status.LimitExceeded)
    expect(refusal(b)).toEqual({
      status: Status.LimitExceeded,
      field: 'policy.idempotency.maxEntries',
      limit: 2,
    })
    expect(b.ledgerSettle(mesh, service, 'a', one, new Uint8Array(1_000))).toBe(Status.LimitExceeded)
    expect(refusal(b)?.field).toBe('policy.idempotency.maxBytes')
    expect(b.ledgerSettle(mesh, service, 'a', one, bytes('1'))).toBe(0)
    first('c')
    expect(b.ledgerResult(mesh, service, 'a'), 'made room').toBe(null)
  })
})

onBothBackends('latencies by instance', (binding) => {
  it('are exported in every format beside those of the service, which keeps them when the instance goes', async () => {
    const on = openMesh(binding())
    const { b, mesh } = on
    const service = on.define('orders', { balancer: 'round-robin' })
    const first = on.add(service, { address: 'http://10.0.0.1:80' })
    on.add(service, { address: 'http://10.0.0.2:80' })
    for (let n = 0; n < 10; n++) {
      const ticket = b.pick(mesh, service, 0)
      const fast = b.scratch()[Scratch.Instance] === first
      b.complete(mesh, ticket, 0, fast ? 1_000 : 50_000)
    }
    const cancelled = b.pick(mesh, service, 0)
    b.complete(mesh, cancelled, 3, 9_000_000)
    const family = 'linkmesh_instance_request_duration_seconds'
    const json = JSON.parse(await rendered(b, mesh, 'json')) as Record<string, unknown>
    const text = JSON.stringify(json)
    expect(text).toContain(family)
    for (const format of ['prometheus', 'openmetrics', 'csv', 'erlang', 'points'] as const)
      expect(await rendered(b, mesh, format), format).toContain(family)
    const prometheus = await rendered(b, mesh, 'prometheus')
    const of = (at: string) => `service="orders",instance="http://10.0.0.${at}:80"`
    expect(prometheus).toContain(`${family}_count{${of('1')}} 5.0\n`)
    expect(prometheus).toContain(`${family}_sum{${of('1')}} 0.005\n`)
    expect(prometheus).toContain(`${family}_sum{${of('2')}} 0.25\n`)
    const total = /linkmesh_request_duration_seconds_(count|sum)\{.*\} .*/g
    const before = prometheus.match(total)
    expect(before).toEqual([
      'linkmesh_request_duration_seconds_sum{service="orders"} 0.255',
      'linkmesh_request_duration_seconds_count{service="orders"} 10.0',
    ])
    const info = on.service(service).latency
    expect([info.count, Math.round(info.p50Us / 50), Math.round(info.p99Us / 1_000)]).toEqual([10, 20, 50])
    expect(b.instanceRemove(mesh, first)).toBe(0)
    const after = await rendered(b, mesh, 'prometheus')
    expect(after).not.toContain(of('1'))
    expect(after.match(total)).toEqual(before)
  })

  it('are kept of a bounded number of instances; the others count for their service', async () => {
    const on = openMesh(binding())
    const { b, mesh } = on
    const service = on.define('orders', { balancer: 'round-robin' })
    const instances = Array.from({ length: 1_030 }, (_, n) => on.add(service, { address: `http://10.0.1.${n}:80` }))
    for (const _ of instances) b.complete(mesh, b.pick(mesh, service, 0), 0, 1_000)
    const series = async (): Promise<number> =>
      (await rendered(b, mesh, 'prometheus')).match(/^linkmesh_instance_request_duration_seconds_count/gm)?.length ?? 0
    expect(await series()).toBe(1_024)
    expect(on.service(service).latency.count).toBe(1_030)
    for (const instance of instances.slice(0, 10)) b.instanceRemove(mesh, instance)
    on.add(service, { address: 'http://10.0.2.1:80' })
    expect(await series(), 'a new one has the place of one that went').toBe(1_015)
    expect(on.service(service).latency.count).toBe(1_030)
  })
})
