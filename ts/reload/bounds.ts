/** When a change has made things worse: what is compared, and by how much it may differ. */

/** What was seen of requests in some span of time. */
export interface Window {
  requests: number
  /** Of these, those that failed or were refused. */
  failed: number
  p50Us: number
  p99Us: number
}

export interface Bounds {
  /** How long is watched, milliseconds. */
  watchMs: number
  /** Requests before anything is judged, on both sides. */
  minRequests: number
  /** The share of failed requests may grow by this. */
  errorIncrease: number
  /** The p99 may grow by this factor. */
  latencyFactor: number
}

export const DEFAULT_BOUNDS: Readonly<Bounds> = {
  watchMs: 10_000,
  minRequests: 50,
  errorIncrease: 0.02,
  latencyFactor: 3,
}

/** A p99 below this is good, whatever it was before: scheduling alone can take as long, microseconds. */
const GOOD_P99_US = 20_000

/** Why `after` is worse than `before` by more than the bounds allow; undefined when it is not, or too little is known. */
export function worsening(before: Window, after: Window, bounds: Bounds): string | undefined {
  if (after.requests < bounds.minRequests) return undefined
  // Without a before there is nothing that errors could have come from but the change.
  const errorsBefore = before.requests === 0 ? 0 : before.failed / before.requests
  const errors = after.failed / after.requests
  if (errors > errorsBefore + bounds.errorIncrease)
    return `${percent(errors)} of ${after.requests} requests failed, ${percent(errorsBefore)} before`
  if (before.requests < bounds.minRequests) return undefined
  if (after.p99Us > GOOD_P99_US && after.p99Us > before.p99Us * bounds.latencyFactor)
    return `p99 ${milliseconds(after.p99Us)}, ${milliseconds(before.p99Us)} before`
  return undefined
}

const percent = (share: number): string => `${(share * 100).toFixed(1)} %`
const milliseconds = (us: number): string => `${(us / 1_000).toFixed(1)} ms`
