/**
 * The open-loop load generator.
 *
 * Requests leave when the schedule says, whether or not earlier ones were answered, and a latency counts from the
 * intended time: a gateway that stalls cannot hide the stall. As fast as possible (`max`), a fixed number is in flight
 * instead, and a latency counts from the moment there was room for the request.
 */
import type { LoadProfile, LoadReply, LoadRequest } from '../../config/load-profile.js'
import { HttpClient } from './client.js'
import { LatencyHistogram, type LatencySummary } from '../../metrics/latency-histogram.js'
import type { LoadCounts, LoadReport } from './messages.js'
import type { Planned, Schedule } from './schedule.js'

/** Requests that may be unanswered at once: beyond, the generator waits, and the wait counts as latency. */
const IN_FLIGHT_MAX = 4_096
const REPLY_TIMEOUT_MS = 30_000
const SAMPLES_MAX = 5
/** What a service that is overloaded, or a deadline, answers: nothing a retry by the mesh could have saved. */
const SHED_CODES = new Set(['LM_SATURATED', 'LM_QUEUE_FULL', 'LM_RATE_LIMITED', 'LM_DEADLINE_EXCEEDED'])
const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS'])

export class LoadGenerator {
  private readonly client: HttpClient
  private readonly total = new LatencyHistogram()
  private readonly second = new LatencyHistogram()
  private readonly counts: LoadCounts = { routed: 0, answered: 0, failed: 0, lost: 0, wrong: 0, skipped: 0 }
  private readonly errors: Record<string, number> = {}
  private readonly samples: string[] = []
  private inFlight = 0
  private startedMs = 0
  private endedMs = 0
  private stopped = false
  private scheduleOver = false
  private pending: Planned | undefined
  private timer: NodeJS.Timeout | undefined
  private finish: (() => void) | undefined

  /** @param window requests at once for those without a time of their own */
  constructor(
    url: string,
    private readonly profile: LoadProfile,
    private readonly schedule: Schedule,
    private readonly window: number,
  ) {
    this.client = new HttpClient(url, REPLY_TIMEOUT_MS)
  }

  /** Runs the schedule to its end, or until {@link stop}; resolves when the last reply is in. */
  async run(): Promise<LoadReport> {
    this.startedMs = performance.now()
    await new Promise<void>((resolve) => {
      this.finish = resolve
      this.pump()
    })
    this.endedMs = performance.now()
    this.client.close()
    return this.report()
  }

  /** Sends no more; replies under way are still awaited. */
  stop(): void {
    this.stopped = true
    clearTimeout(this.timer)
    this.timer = undefined
    this.endIfIdle()
  }

  /** Counts lines that never became a request. */
  skip(lines: number): void {
    this.counts.skipped += lines
  }

  report(): LoadReport {
    return {
      ...this.counts,
      latency: this.total.summary(),
      elapsedMs: (this.endedMs || performance.now()) - this.startedMs,
      inFlight: this.inFlight,
      errors: { ...this.errors },
      samples: [...this.samples],
    }
  }

  /** Latencies since the last call. */
  takeSecond(): LatencySummary {
    const summary = this.second.summary()
    this.second.reset()
    return summary
  }

  /** Sends everything that is due, then sleeps until the next is. */
  private readonly pump = (): void => {
    this.timer = undefined
    while (!this.stopped && !this.scheduleOver) {
      const planned = this.pending ?? this.schedule()
      this.pending = undefined
      if (planned === null) {
        this.scheduleOver = true
        break
      }
      if (planned === 'skip') {
        this.counts.skipped++
        continue
      }
      const now = performance.now()
      const dueMs = Number.isNaN(planned.atMs) ? now : this.startedMs + planned.atMs
      const room = this.inFlight < (Number.isNaN(planned.atMs) ? this.window : IN_FLIGHT_MAX)
      if (!room || dueMs > now) {
        this.pending = planned
        // Without room the next reply calls again.
        if (room) this.timer = setTimeout(this.pump, Math.max(0, dueMs - now))
        return
      }
      void this.exchange(planned.request, dueMs)
    }
    this.endIfIdle()
  }

  private async exchange(request: LoadRequest, dueMs: number): Promise<void> {
    this.counts.routed++
    this.inFlight++
    try {
      const reply = await this.client.send(request)
      const us = (performance.now() - dueMs) * 1_000
      this.total.record(us)
      this.second.record(us)
      this.judge(request, reply)
    } catch (error) {
      this.counts.lost++
      this.note(request, `no reply: ${(error as Error).message}`)
    }
    this.inFlight--
    if (this.timer === undefined) this.pump()
  }

  private judge(request: LoadRequest, reply: LoadReply): void {
    const problem = problemOf(reply)
    if (problem === undefined) {
      if (this.profile.digest(request, reply) === this.profile.expected(request)) this.counts.answered++
      else {
        this.counts.wrong++
        this.note(request, `${reply.status} with a wrong digest`)
      }
      return
    }
    const label = `${reply.status} ${problem}`
    this.errors[label] = (this.errors[label] ?? 0) + 1
    const retriable = request.retriable ?? SAFE_METHODS.has(request.method)
    if (reply.status < 500 && reply.status !== 429) {
      this.counts.wrong++
      this.note(request, label)
    } else if (retriable && !SHED_CODES.has(problem)) {
      this.counts.lost++
      this.note(request, label)
    } else this.counts.failed++
  }

  private note(request: LoadRequest, what: string): void {
    if (this.samples.length < SAMPLES_MAX)
      this.samples.push(`${request.method} ${request.target.slice(0, 120)}: ${what}`)
  }

  private endIfIdle(): void {
    if (this.inFlight === 0 && (this.stopped || this.scheduleOver)) this.finish?.()
  }
}

/** Code of a problem reply, `unknown` for a 5xx without one, undefined when the reply is no failure of the mesh. */
function problemOf(reply: LoadReply): string | undefined {
  if (reply.headers['content-type'] !== 'application/problem+json') return reply.status >= 500 ? 'unknown' : undefined
  try {
    const { code } = JSON.parse(Buffer.from(reply.body).toString('utf8')) as { code?: unknown }
    return typeof code === 'string' ? code : 'unknown'
  } catch {
    return 'unknown'
  }
}
