/** Hedging across worker threads and between nodes: the loser is cancelled where it runs, and is no failure. */
import { afterEach, describe, expect, it } from 'vitest'
import { startWorkers, type Workers } from '../../ts/adapters/worker.js'
import { type LinkmeshError, Mesh, type Policy } from '../../ts/index.js'
import { NO_NATIVE } from '../support/native.js'
import { founder, guest, until } from '../support/node.js'

const file = new URL('./fixtures/service.mjs', import.meta.url)
const POLICY: Policy = {
  balancer: 'round-robin',
  hedge: { enabled: true, budget: 1, minSamples: 10 },
  outlier: { enabled: true, consecutiveFailures: 1 },
  breaker: { enabled: true, consecutiveFailures: 1 },
}
const URGENT = { qos: 'critical', idempotent: true, timeoutMs: 20_000 } as const
/** So many that each of two instances is asked first at least once. */
const BOTH = 2

describe.skipIf(NO_NATIVE !== '')(`hedging${NO_NATIVE === '' ? '' : ` (skipped: ${NO_NATIVE})`}`, () => {
  let names = 0
  let end: () => Promise<void>
  afterEach(() => end())

  const infoOf = (mesh: Mesh, service: string) => mesh.services().find(({ name }) => name === service)

  describe('across worker threads', () => {
    let mesh: Mesh
    let workers: Workers
    /** What the worker that hangs said. */
    let said: Record<string, unknown>[]
    let hanging: number

    async function start(policy: Policy = POLICY): Promise<void> {
      mesh = await Mesh.open({ name: `hedge-${++names}`, seed: 1 })
      workers = startWorkers(mesh, { file, count: 2, services: 4, workerData: { policy } })
      end = async () => {
        await workers.terminate()
        await mesh.close({ graceMs: 0 })
      }
      await workers.ready
      said = []
      workers.worker(0).on('message', (message) => said.push(message))
      hanging = workers.worker(0).threadId
      for (let i = 0; i < 40; i++) await mesh.request('work', i)
    }
    const ask = (id: number, options: object = URGENT): Promise<unknown> =>
      mesh.request('work', { do: 'hang', thread: hanging, id }, options)
    const saidSo = async (field: string): Promise<void> => {
      await until(async () => {
        // A request of its own each time: what the worker said before its answer is here by then.
        await mesh.request('who')
        return said.some((message) => field in message)
      })
    }

    it('the first answer wins, and the other handler hears of it where it runs', async () => {
      await start()
      for (let id = 0; id < BOTH; id++) expect(await ask(id)).toBe(workers.worker(1).threadId)
      await saidSo('aborted')
      expect(said.filter((message) => 'hanging' in message)).toHaveLength(1)
      expect(said.filter((message) => 'aborted' in message)).toHaveLength(1)
      const info = infoOf(mesh, 'work')
      expect(info?.hedges).toBe(1)
      // One failure would have opened the breaker, and ejected it.
      expect(info?.instances).toMatchObject([
        { inFlight: 0, failed: 0, breaker: 'closed', health: 'healthy' },
        { inFlight: 0, failed: 0, breaker: 'closed', health: 'healthy' },
      ])
      expect(await mesh.metrics.render('prometheus')).toContain('linkmesh_hedges_won_total{service="work"} 1')
    })

    it('asks no second one when the budget is used up', async () => {
      // A tenth: forty requests earn four at most.
      await start({ ...POLICY, hedge: { enabled: true, budget: 0.1, minSamples: 10 } })
      const many = Array.from({ length: 40 }, (_, id) => ask(id, { ...URGENT, timeoutMs: 400 }))
      const ends = await Promise.allSettled(many)
      const late = ends.filter((one) => one.status === 'rejected').map(({ reason }) => (reason as LinkmeshError).code)
      const hedges = infoOf(mesh, 'work')?.hedges ?? 0
      expect(hedges).toBeGreaterThan(0)
      expect(hedges).toBeLessThanOrEqual(8)
      expect(new Set(late)).toEqual(new Set(['LM_DEADLINE_EXCEEDED']))
      // Of those that hung first the hedged ones were answered. A hedge of one that was only slow hangs, and wins nothing.
      const won = /^linkmesh_hedges_won_total\{service="work"\} ([\d.]+)$/m.exec(
        await mesh.metrics.render('prometheus'),
      )
      expect(late.length).toBe(20 - Number(won?.[1] ?? 0))
    })

    it('ends with the caller: neither handler goes on', async () => {
      await start()
      workers.worker(1).on('message', (message) => said.push(message))
      const count = (field: string): number => said.filter((message) => field in message).length
      const controller = new AbortController()
      const asked = mesh.request('work', { do: 'hang', id: 1 }, { ...URGENT, signal: controller.signal })
      await until(async () => {
        await mesh.request('who')
        return count('hanging') === 2
      })
      controller.abort()
      await expect(asked).rejects.toMatchObject({ code: 'LM_CANCELLED' })
      await until(async () => {
        await mesh.request('who')
        return count('aborted') === 2
      })
      expect(infoOf(mesh, 'work')?.instances).toMatchObject([
        { inFlight: 0, failed: 0 },
        { inFlight: 0, failed: 0 },
      ])
    })
  })

  it('between nodes: the handler of the other process is told when the answer came from here', async () => {
    const first = await founder([{ name: 'watch', policy: POLICY, idempotent: true }, { name: 'counts' }])
    const joined = await guest(first, 'hedge')
    const { mesh } = joined
    end = joined.end
    await until(async () => infoOf(mesh, 'watch')?.instances.length === 1)
    mesh.service('watch', () => 'here', { policy: POLICY, idempotent: true })
    // Latencies to go by, of here alone.
    const route = mesh.route('watch')
    for (let sample = 0; sample < 40; sample++) route.complete(route.pick(), 0, 1_000)
    for (let id = 0; id < BOTH; id++) expect(await mesh.request('watch', id, URGENT)).toBe('here')
    await until(async () => ((await mesh.request('counts')) as { cancelled: number }).cancelled === 1)
    expect(await mesh.request('counts')).toMatchObject({ started: 1, cancelled: 1 })
    const info = infoOf(mesh, 'watch')
    expect(info?.hedges).toBe(1)
    expect(info?.instances.map(({ inFlight, failed, breaker }) => ({ inFlight, failed, breaker }))).toEqual([
      { inFlight: 0, failed: 0, breaker: 'closed' },
      { inFlight: 0, failed: 0, breaker: 'closed' },
    ])
  })
})
