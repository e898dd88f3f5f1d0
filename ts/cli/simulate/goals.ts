/** What the included scenarios have to show, beside the rivals: each goal, its figures, and whether it is met. */
import { behind, type Figures, INCLUDED_SCENARIOS, type Report } from './report.js'

export interface Goal {
  /** The scenario, or `all`. */
  scenario: string
  goal: string
  met: boolean
  /** What was found, for people. */
  found: string
}

/** Seeds of the ramp: a p99 of one step of one run is chance by one to three percent. */
export const RAMP_SEEDS = 10
const RAMP_RIVAL = 'rival:tower-p2c-peak-ewma'
/** Policies that the ramp is run with again. */
export const RAMP_POLICIES: readonly string[] = ['adaptive', RAMP_RIVAL]

/** The goals that these reports can show. `ramps`: the ramp with {@link RAMP_POLICIES} under other seeds. */
export function goalsOf(reports: readonly Report[], ramps: readonly Report[]): Goal[] {
  const of = (scenario: string, ...policies: string[]): Figures[] | undefined => {
    const report = reports.find((one) => one.scenario === scenario)
    const found = policies.flatMap((policy) => report?.policies.find((one) => one.policy === policy) ?? [])
    return found.length === policies.length ? found : undefined
  }
  return [
    slowReplica(of('slow-replica', 'adaptive', 'rival:round-robin')),
    sinkhole(of('sinkhole', 'adaptive', 'rival:least-request')),
    rejections(of('rejections', 'adaptive', 'rival:least-request', RAMP_RIVAL)),
    ramp(ramps),
    ...overall(reports),
  ].filter((goal) => goal !== undefined)
}

function slowReplica(figures: Figures[] | undefined): Goal | undefined {
  if (figures === undefined) return undefined
  const [ours, theirs] = figures as [Figures, Figures]
  return {
    scenario: 'slow-replica',
    goal: 'success within 1 s ≥ 99.9 %, where round-robin has about 95 %',
    met: ours.whole.success >= 0.999 && Math.abs(theirs.whole.success - 0.95) < 0.015,
    found: `adaptive ${percent(ours.whole.success)}, round-robin ${percent(theirs.whole.success)}`,
  }
}

function sinkhole(figures: Figures[] | undefined): Goal | undefined {
  if (figures === undefined) return undefined
  const [ours, theirs] = figures.map(({ whole }) => whole.requests - whole.succeeded) as [number, number]
  return {
    scenario: 'sinkhole',
    goal: "at most a third of least-request's failures",
    met: ours * 3 <= theirs,
    found: `adaptive ${ours}, least-request ${theirs}`,
  }
}

/** The first server is the one that rejects. */
function rejections(figures: Figures[] | undefined): Goal | undefined {
  if (figures === undefined) return undefined
  const [ours, ...rivals] = figures.map(({ picks, attempts }) => ((picks[0] ?? 0) * picks.length) / attempts)
  return {
    scenario: 'rejections',
    goal: 'the server that answers 429 gets less than an even share',
    met: (ours as number) < 1,
    found: `of an even share: adaptive ${percent(ours as number)}, least-request ${percent(rivals[0] as number)}, tower's peak-EWMA ${percent(rivals[1] as number)}`,
  }
}

function ramp(ramps: readonly Report[]): Goal | undefined {
  const ratios = ramps.flatMap(({ policies: [ours, theirs] }) =>
    ours === undefined || theirs === undefined
      ? []
      : [ours.phases.map(({ p99Us }, step) => p99Us / (theirs.phases[step]?.p99Us as number))],
  )
  if (ratios.length === 0) return undefined
  const means = (ratios[0] as number[]).map(
    (_, step) => ratios.reduce((sum, run) => sum + (run[step] as number), 0) / ratios.length,
  )
  return {
    scenario: 'ramp',
    goal: "at every step a p99 no longer than peak-EWMA's",
    met: means.every((mean) => mean <= 1),
    found: `adaptive over tower's peak-EWMA, mean of ${ratios.length} seeds, by step: ${means.map((mean) => mean.toFixed(3)).join(' ')}`,
  }
}

/** Of the scenarios with rivals, how often `adaptive` is the best or nearly. */
function overall(reports: readonly Report[]): Goal[] {
  const lags = reports.flatMap((report) => {
    const ours = report.policies.find(({ policy }) => policy === 'adaptive')
    return INCLUDED_SCENARIOS.includes(report.scenario) && ours !== undefined && report.policies.length > 1
      ? [{ scenario: report.scenario, lag: behind(report, ours) }]
      : []
  })
  if (lags.length !== INCLUDED_SCENARIOS.length) return []
  const lost = lags.filter(({ lag }) => lag > 0.02)
  const others = lost.map(({ scenario, lag }) => `${scenario} ${percent(lag)} behind`)
  return [
    {
      scenario: 'all',
      goal: `adaptive best or within 2 % in at least 9 of ${lags.length}`,
      met: lags.length - lost.length >= 9,
      found: [`${lags.length - lost.length} of ${lags.length}`, ...others].join('; '),
    },
  ]
}

/** One line a goal. */
export function goalLines(goals: readonly Goal[]): string {
  return ['goals', ...goals.map(({ scenario, goal, met, found }) => `  ${met ? 'met' : 'MISSED'}: ${scenario}: ${goal}: ${found}`), ''].join('\n') // biome-ignore format: one list
}

const percent = (share: number): string => `${(share * 100).toFixed(share > 0.99 && share < 1 ? 3 : 1)} %`
