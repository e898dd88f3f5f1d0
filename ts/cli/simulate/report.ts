/** What a simulation answers, as `crates/simulator/src/figures.rs` writes it. Latencies in microseconds. */

/** In the order of `--all`; `crates/simulator/src/included.rs`. */
export const INCLUDED_SCENARIOS: readonly string[] = [
  'slow-replica',
  'sinkhole',
  'rejections',
  'cold-start',
  'half-down',
  'ramp',
  'hot-key',
  'flapping',
  'clock-back',
  'rolling-restart',
  'retry-storm',
]

export interface Phase {
  untilMs: number
  requests: number
  succeeded: number
  /** 0 to 1. */
  success: number
  p50Us: number
  p90Us: number
  p99Us: number
  p999Us: number
}

export interface Figures {
  policy: string
  whole: Phase
  phases: Phase[]
  attempts: number
  refused: number
  outcomes: number[]
  /** Attempts by server. */
  picks: number[]
  failures: number[]
  moves: number
  /** Latency at 1 %, 2 %, … 100 % of the requests; failed ones count as the deadline. */
  distribution: number[]
}

export interface Report {
  scenario: string
  about: string
  seed: number
  goal: 'success' | 'p99'
  deadlineMs: number
  durationMs: number
  policies: Figures[]
}

/** Share by which a policy is worse than the best one in the scenario's goal; 0 for the best. */
export function behind(report: Report, figures: Figures): number {
  if (report.goal === 'success') {
    const best = Math.max(...report.policies.map((one) => one.whole.success))
    return best === 0 ? 0 : 1 - figures.whole.success / best
  }
  const best = Math.min(...report.policies.map((one) => one.whole.p99Us))
  return best === 0 ? 0 : figures.whole.p99Us / best - 1
}

/** Load of the busiest server over the mean. */
export function imbalance(figures: Figures): number {
  const mean = figures.picks.reduce((sum, picks) => sum + picks, 0) / Math.max(figures.picks.length, 1)
  return mean === 0 ? 0 : Math.max(...figures.picks) / mean
}
