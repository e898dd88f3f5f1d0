/** A scrape of ten thousand series does not hold the event loop. */
import { describe, expect, it } from 'vitest'
import { Mesh } from '../../ts/index.js'
import { NO_NATIVE } from '../support/native.js'

const SERIES = 10_000
const ROUNDS = 15

/** How long the event loop was not idle in all, from the call of `work` to its answer, milliseconds: no turn was longer. */
async function active(work: () => Promise<unknown>): Promise<number> {
  // A turn of its own before and after: what this test does itself is not counted.
  await new Promise((resolve) => setTimeout(resolve, 1))
  const before = performance.eventLoopUtilization()
  await work()
  return performance.eventLoopUtilization(before).active
}

const quartile = (values: number[]) => values.sort((a, b) => a - b)[values.length >> 2] as number

describe.skipIf(NO_NATIVE !== '')(`a scrape${NO_NATIVE === '' ? '' : ` (skipped: ${NO_NATIVE})`}`, () => {
  it('of 10,000 series, a tenth of them histograms, holds the loop for less than a millisecond', async () => {
    const mesh = await Mesh.open({ name: `scrape-${process.pid}` })
    try {
      for (let n = 0; n < SERIES; n++) {
        const labels = { shop: `shop ${n}` }
        if (n % 10 === 0) {
          const histogram = mesh.metrics.histogram('size_bytes', labels, 'Sizes')
          for (let size = 1; size < 1_000; size *= 2) histogram.record(size)
        } else if (n % 10 === 1) mesh.metrics.gauge('depth', labels).set(n)
        else mesh.metrics.counter(`jobs_${n % 10}_total`, labels).add(n)
      }
      for (const format of ['openmetrics', 'json', 'csv', 'erlang'] as const) {
        let bytes = 0
        const scraping: number[] = []
        const waiting: number[] = []
        // In turns, so that what else runs on the machine is in both. Of each the lower quartile: when another program takes
        // the processor away in the middle of a turn, that turn is long for no fault of its own, and what the scrape itself
        // does to the loop it does every time.
        for (let round = 0; round < ROUNDS; round++) {
          const began = performance.now()
          scraping.push(
            await active(async () => {
              bytes = (await mesh.metrics.scrape(format)).byteLength
            }),
          )
          const took = performance.now() - began
          waiting.push(await active(() => new Promise((resolve) => setTimeout(resolve, took))))
        }
        expect(bytes, format).toBeGreaterThan(SERIES * 40)
        expect(quartile(scraping) - quartile(waiting), `${format}: ${scraping} against ${waiting}`).toBeLessThan(1)
      }
    } finally {
      await mesh.close({ graceMs: 0 })
    }
  })
})
