/**
 * What requests to some services were answered, as the router counts them: those of all threads of the process, attempt by
 * attempt. What one thread can see of its own requests alone (waits in a queue, what became of them after retries) is not
 * in it.
 */
import type { Core } from '../mesh/core.js'
import { RecentAnswers } from './recent.js'

const DECODER = new TextDecoder()
/** Families of the scrape that are read. */
const LATENCY = 'linkmesh_request_duration_seconds'
const OUTCOMES = 'linkmesh_requests'
const REFUSED = 'linkmesh_shed'
/** Outcomes that are no failure; whoever gave up by himself has found nothing wrong. */
const HARMLESS = new Set(['ok', 'cancelled'])

interface Point {
  labels: Record<string, string>
  value?: number
  histogram?: { scale: number; offset: number; zero: number; counts: number[] }
}

/** Totals since the mesh was opened. */
interface Totals {
  failed: number
  refused: number
  /** Answers by latency, microseconds. */
  latencies: Map<number, number>
}

export class RouterAnswers {
  /** What came between two looks, noted at the later one. */
  readonly answers = new RecentAnswers()
  readonly #core: Core
  readonly #services: ReadonlySet<string>
  #before: Totals | undefined = undefined

  constructor(core: Core, services: ReadonlySet<string>) {
    this.#core = core
    this.#services = services
  }

  /** Notes what was answered since the last look; the first one only begins. Gathered off the JavaScript thread. */
  async look(): Promise<void> {
    const { binding, handle } = this.#core
    const now = this.#sum(DECODER.decode(await binding.metricsRender(handle, 'points')))
    const before = this.#before
    this.#before = now
    if (before === undefined) return
    // Instances that left took their counts along: then nothing is known of this look.
    let failed = Math.max(0, now.failed - before.failed)
    for (const [us, count] of now.latencies) {
      const fresh = count - (before.latencies.get(us) ?? 0)
      if (fresh <= 0) continue
      // Which of them failed is not known, and does not matter: shares are compared.
      const bad = Math.min(failed, fresh)
      failed -= bad
      this.answers.record(us, true, bad)
      this.answers.record(us, false, fresh - bad)
    }
    this.answers.record(0, true, Math.max(0, now.refused - before.refused))
  }

  #sum(points: string): Totals {
    const totals: Totals = { failed: 0, refused: 0, latencies: new Map() }
    let family = ''
    for (const line of points.split('\n')) {
      if (line.startsWith('{"family"')) {
        family = (JSON.parse(line) as { family: string }).family
        continue
      }
      if (line === '' || (family !== LATENCY && family !== OUTCOMES && family !== REFUSED)) continue
      const { labels, value = 0, histogram } = JSON.parse(line) as Point
      if (!this.#services.has(labels.service as string)) continue
      if (family === REFUSED) totals.refused += value
      else if (family === OUTCOMES) totals.failed += HARMLESS.has(labels.outcome as string) ? 0 : value
      else if (histogram !== undefined) addTo(totals.latencies, histogram)
    }
    return totals
  }
}

function addTo(latencies: Map<number, number>, { scale, offset, zero, counts }: NonNullable<Point['histogram']>): void {
  const add = (us: number, count: number): void => {
    if (count > 0) latencies.set(us, (latencies.get(us) ?? 0) + count)
  }
  add(0, zero)
  // The middle of a bucket, by ratio.
  for (const [index, count] of counts.entries()) add(2 ** ((offset + index + 0.5) / 2 ** scale), count)
}
