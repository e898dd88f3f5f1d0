/** `mesh.reload` in one thread, requests in others: what it makes of them counts as well. */
import { afterEach, describe, expect, it } from 'vitest'
import { startWorkers, type Workers } from '../../ts/adapters/worker.js'
import { Mesh } from '../../ts/index.js'
import { NO_NATIVE } from '../support/native.js'

const file = new URL('./fixtures/service.mjs', import.meta.url)

describe.skipIf(NO_NATIVE !== '')(
  `mesh.reload and workers${NO_NATIVE === '' ? '' : ` (skipped: ${NO_NATIVE})`}`,
  () => {
    let mesh: Mesh
    let workers: Workers
    let running: NodeJS.Timeout | undefined
    let names = 0

    async function start(): Promise<void> {
      mesh = await Mesh.open({ name: `reload-${++names}`, seed: 1, deadLetters: false })
      mesh.define('work', { retry: { limit: 0 } })
      workers = startWorkers(mesh, { file, count: 2, services: 5, workerData: { uneven: true } })
      await workers.ready
    }
    afterEach(async () => {
      clearInterval(running)
      await workers.terminate()
      await mesh.close({ graceMs: 0 })
    })

    /** Asks for `uneven` so many times every few milliseconds, from the workers alone: this thread asks them to. */
    function underLoad(count: number): void {
      running = setInterval(() => {
        for (let n = 0; n < count; n++) mesh.request('work', { do: 'call', service: 'uneven' }).catch(() => {})
      }, 20)
    }
    const options = { beforeMs: 2_000, watchMs: 20_000, minRequests: 20, latencyFactor: 1.5 }
    const infoOf = (service: string) => mesh.services().find(({ name }) => name === service)

    it('takes back what makes only the requests of other threads fail', async () => {
      await start()
      underLoad(20)
      const before = infoOf('uneven')?.policy
      const policy = { concurrency: 1, queueLimit: 0, backpressure: 'reject' } as const
      const report = await mesh.reload({ services: { uneven: { policy } } }, options)
      expect(report).toMatchObject({ verdict: 'rolled-back', reason: expect.stringMatching(/requests failed/) })
      expect(report.watched?.before.requests).toBeGreaterThan(0)
      expect(infoOf('uneven')?.policy).toEqual(before)
    })

    it('takes back what makes only them slow', async () => {
      await start()
      // Each takes four seconds afterwards: few enough that all find a place.
      underLoad(1)
      const report = await mesh.reload({ services: { uneven: { weights: { w0: 1, w1: 1_000 } } } }, options)
      expect(report).toMatchObject({ verdict: 'rolled-back', reason: expect.stringMatching(/took longer than/) })
      const weights = infoOf('uneven')?.instances.map(({ metadata, weight }) => [metadata.instance, weight])
      expect(new Map(weights as [string, number][])).toEqual(
        new Map([
          ['w0', 1_000],
          ['w1', 1],
        ]),
      )
    })

    it('keeps what does them no harm', async () => {
      await start()
      underLoad(5)
      const policy = { concurrency: 400 }
      const report = await mesh.reload({ services: { uneven: { policy } } }, { ...options, watchMs: 1_000 })
      expect(report).toMatchObject({ verdict: 'applied', watched: { tooFew: false, after: { failed: 0 } } })
      expect(report.watched?.after.requests).toBeGreaterThan(options.minRequests)
    })
  },
)
