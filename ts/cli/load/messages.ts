/** What the load generator's thread is told and what it reports. */
import type { LatencySummary } from '../../metrics/latency-histogram.js'

export interface LoadOptions {
  /** Gateway, `http://127.0.0.1:8080`. */
  url: string
  /** File of the load profile. */
  module: string
  /** What is imported for it: the profile itself, or what it was compiled to. */
  compiled: string
  seed: number
  /** Requests a second of the seeded mix; `max` = as fast as replies allow. */
  rate: number | 'max'
  /** Stops after this many; null = until told. */
  requests: number | null
  /** Access log to replay instead of the mix. */
  log: string | null
  /** Factor on the log's own timing; `max` = as fast as replies allow. */
  speed: number | 'max'
  /** Requests at once when as fast as possible. */
  window: number
}

export interface LoadCounts {
  /** Sent to the gateway. */
  routed: number
  /** Answered, and the answer was right. */
  answered: number
  /** Answered with an error that says what is true: refused for overload, or a request that may not be repeated. */
  failed: number
  /** No answer, or a request that may be repeated was answered by an error although the mesh could have repeated it. */
  lost: number
  /** Answered with something else than it should be. */
  wrong: number
  /** Log lines that are no request the profile maps. */
  skipped: number
}

export interface LoadReport extends LoadCounts {
  latency: LatencySummary
  elapsedMs: number
  inFlight: number
  /** Errors by status and code, `502 LM_THREAD_ENDED`. */
  errors: Record<string, number>
  /** First few requests that were lost or answered wrongly, for the summary. */
  samples: string[]
}

export type LoadMessage =
  | { type: 'ready'; planned: number | null }
  /** Every second: the whole run so far, and the latencies of this second. */
  | { type: 'second'; total: LoadReport; second: LatencySummary }
  | { type: 'done'; total: LoadReport }
  | { type: 'error'; message: string }

export type LoadCommand = { type: 'start' } | { type: 'stop' }
