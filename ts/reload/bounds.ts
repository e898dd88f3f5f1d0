/** When a change has made things worse: what is compared, and how much of a difference is more than chance. */
import { likelyAtMost, proves } from './evidence.js'

/** What was seen of requests in some span of time. */
export interface AnswerWindow {
  requests: number
  /** Of these, those that failed or were refused. */
  failed: number
  p50Us: number
  p99Us: number
}

/** A short part of the time after a change. */
export interface Slice {
  requests: number
  failed: number
  /** Of the requests, those that took longer than {@link slowUs} of the time before. */
  slow: number
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
/** Of the slices after a change one in so many, begun ones included, is left out: the worst. */
const FORGIVEN = 10

/** What a request may take after the change; the p99 has grown too much when more than one in a hundred takes longer. */
export function slowUs(before: AnswerWindow, { minRequests, latencyFactor }: Bounds): number {
  if (before.requests < minRequests) return Number.POSITIVE_INFINITY
  return Math.max(GOOD_P99_US, before.p99Us * latencyFactor)
}

/**
 * Why things are worse than before by more than the bounds allow; undefined when they are not, or it may be chance.
 *
 * Both rules ask whether too many of the requests are bad, failed or slow, and both allow for how little was seen: before
 * (the share may have been larger than it looked) and after (the excess must be proven). Requests that a pause of the
 * machine hits are bad together, so they prove no more than one: the worst slices do not count.
 */
export function worsening(before: AnswerWindow, after: readonly Slice[], bounds: Bounds): string | undefined {
  if (sum(after, 'requests') < bounds.minRequests) return undefined
  const few = before.requests < bounds.minRequests
  // Without a before there is nothing that errors could have come from but the change.
  const errorsBefore = few ? before.failed / Math.max(1, before.requests) : likelyAtMost(before.failed, before.requests)
  const failed = withoutWorst(after, 'failed')
  if (proves(failed.bad, failed.requests, Math.min(1, errorsBefore + bounds.errorIncrease))) {
    const share = before.requests === 0 ? 'none before' : `${percent(before.failed / before.requests)} before`
    return `${percent(sum(after, 'failed') / sum(after, 'requests'))} of ${sum(after, 'requests')} requests failed, ${share}`
  }
  if (few) return undefined
  const slow = withoutWorst(after, 'slow')
  if (proves(slow.bad, slow.requests, likelyAtMost(Math.ceil(before.requests / 100), before.requests))) {
    const limit = milliseconds(slowUs(before, bounds))
    return `${percent(slow.bad / slow.requests)} of the requests took longer than ${limit}; p99 ${milliseconds(before.p99Us)} before`
  }
  return undefined
}

function withoutWorst(slices: readonly Slice[], what: 'failed' | 'slow'): { requests: number; bad: number } {
  const kept = [...slices].sort((a, b) => b[what] - a[what]).slice(Math.ceil(slices.length / FORGIVEN))
  return { requests: sum(kept, 'requests'), bad: sum(kept, what) }
}

function sum(slices: readonly Slice[], what: keyof Slice): number {
  return slices.reduce((total, slice) => total + slice[what], 0)
}

const percent = (share: number): string => `${(share * 100).toFixed(1)} %`
const milliseconds = (us: number): string => `${(us / 1_000).toFixed(1)} ms`
