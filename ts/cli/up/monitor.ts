/** Puts a moment's figures together: the generator's when there is one, else what the gateway itself saw. */
import type { GatewayAnswer } from '../../adapters/http.js'
import { LatencyHistogram } from '../../metrics/latency-histogram.js'
import type { Run } from './run.js'
import { Figures, type Snapshot } from './snapshot.js'

export class Monitor {
  private readonly seen = new LatencyHistogram()
  private readonly startedMs = performance.now()
  private figures: Figures | undefined
  private run: Run | undefined
  private retriedBefore = 0
  private deadLetters = 0

  readonly onAnswer = (answer: GatewayAnswer): void => {
    this.seen.record(answer.us)
  }

  attach(run: Run): void {
    this.run = run
    this.figures = new Figures(run.fleet)
  }

  /** Asks for what only the journal knows; the next figures have it. `say` is told of new dead letters. */
  async ask(say: (text: string) => void): Promise<void> {
    if (!this.run || this.run.mesh.closed) return
    const { dead, parked } = await this.run.mesh.deadLetters.stats()
    const more = dead + parked - this.deadLetters
    if (more > 0) say(`${more} more dead ${more === 1 ? 'letter' : 'letters'}`)
    this.deadLetters = dead + parked
  }

  /** Figures since the last call; undefined while nothing runs. */
  take(): Snapshot | undefined {
    const { run, figures } = this
    if (!run || !figures || run.mesh.closed) return undefined
    const services = figures.take(run.mesh.services(), run.mesh.threads())
    const own = this.seen.summary()
    this.seen.reset()
    const load = run.load?.latest
    const latency = load ? load.second : own
    const retried = services.reduce((sum, service) => sum + service.retries, 0)
    this.retriedBefore = Math.max(this.retriedBefore, retried)
    return {
      atMs: performance.now() - this.startedMs,
      requestsPerSecond: latency.count,
      latency,
      inFlight: run.gateway?.inFlight ?? 0,
      retried: this.retriedBefore,
      deadLetters: this.deadLetters,
      load: load?.total ?? null,
      services,
    }
  }
}
