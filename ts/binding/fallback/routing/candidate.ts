/** One instance as it looked when it was considered, as `crates/routing/src/candidate.rs`. */
import type { Breaker, Explanation, Handle, Health } from '../../contract.js'

/** Why an instance could not be chosen; null when it could. */
export type Filter = Explanation['candidates'][number]['filter']

/** What was seen of one member, and what the balancer made of it. */
export interface Candidate {
  readonly index: number
  readonly handle: Handle
  filter: Filter
  /** Eligible as a half-open probe only. */
  probe: boolean
  readonly limit: number
  readonly inFlight: number
  readonly latencyUs: number
  readonly breaker: Breaker
  health: Health
  /** Lower is better; NaN when not scored. */
  score: number
  /** For a filter that time lifts: when, microseconds. Else infinite. */
  eligibleAtUs: number
}

/** Candidates that are recorded of each pick. */
export const RECORDED_CANDIDATES = 16

/** Puts a candidate into the trace, once; the chosen one replaces the last when there is no room. */
export function note(trace: Candidate[], candidate: Candidate, chosen: boolean): void {
  for (const noted of trace) if (noted.handle === candidate.handle) return
  if (trace.length === RECORDED_CANDIDATES) {
    if (!chosen) return
    trace.pop()
  }
  trace.push(candidate)
}
