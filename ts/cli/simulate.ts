/** `linkmesh simulate`: what would have happened with another policy, by the router that runs in production. */
import { readFile, writeFile } from 'node:fs/promises'
import { loadBinding } from '../binding/index.js'
import { LinkmeshError, NATIVE_HINT } from '../errors.js'
import { UsageError } from './output.js'
import { goalLines, goalsOf, RAMP_POLICIES, RAMP_SEEDS } from './simulate/goals.js'
import { KEYED_TRACE, sampleTrace } from './simulate/keyed-trace.js'
import { page } from './simulate/page.js'
import { INCLUDED_SCENARIOS, type Report } from './simulate/report.js'
import { table } from './simulate/table.js'
import { readTrace } from './simulate/trace.js'

export interface SimulateOptions {
  all?: boolean
  policy?: string
  trace?: string
  seed?: number
  report?: string
  json?: boolean
}

/** Largest scenario file, bytes. */
const SCENARIO_BYTES = 64 << 20

export async function simulate(scenario: string | undefined, options: SimulateOptions): Promise<void> {
  if ((scenario === undefined) === (options.all !== true)) {
    throw new UsageError(
      `name one scenario, or give --all; included are ${INCLUDED_SCENARIOS.join(', ')}; a file ends in .json`,
    )
  }
  const { binding, backend } = loadBinding()
  if (backend.kind === 'fallback') {
    throw new LinkmeshError('LM_NATIVE_REQUIRED', `a simulation runs the native router; linkmesh ${NATIVE_HINT}`)
  }
  const policies = options.policy?.split(',').map((name) => name.trim()) ?? []
  const run = async (request: object): Promise<Report> => parsed(await binding.simulate(JSON.stringify(request)))
  const reports: Report[] = []
  const show = (report: Report): void => {
    reports.push(report)
    process.stdout.write(options.json ? `${JSON.stringify(report)}\n` : `${table(report)}\n`)
  }
  const { seed, trace } = options
  if (scenario === undefined) {
    for (const name of INCLUDED_SCENARIOS) show(await run({ scenario: name, policies, seed }))
    const arrivals = trace ?? sampleTrace()
    if (arrivals !== undefined)
      show(await run({ scenario: KEYED_TRACE, policies, seed, trace: await readTrace(arrivals) }))
    const goals = goalsOf(reports, policies.length === 0 ? await ramps(run, seed) : [])
    process.stdout.write(options.json ? `${JSON.stringify({ goals })}\n` : goalLines(goals))
  } else {
    const arrivals = trace === undefined ? undefined : await readTrace(trace)
    show(await run({ scenario: await scenarioOf(scenario), policies, seed, trace: arrivals }))
  }
  if (options.report !== undefined) await writeFile(options.report, page(reports))
}

/** The ramp under several seeds. */
async function ramps(run: (request: object) => Promise<Report>, seed = 1): Promise<Report[]> {
  const reports: Report[] = []
  for (let more = 0; more < RAMP_SEEDS; more++)
    reports.push(await run({ scenario: 'ramp', policies: RAMP_POLICIES, seed: (seed + more) >>> 0 }))
  return reports
}

/** A name is for the router to find; a file is read here. */
async function scenarioOf(name: string): Promise<unknown> {
  if (!name.endsWith('.json')) {
    if (INCLUDED_SCENARIOS.includes(name)) return name
    throw new UsageError(`there is no scenario ${name}; included are ${INCLUDED_SCENARIOS.join(', ')}`)
  }
  const text = await readFile(name, 'utf8')
  if (text.length > SCENARIO_BYTES) throw new UsageError(`${name} is larger than ${SCENARIO_BYTES} bytes`)
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new UsageError(`${name} is not JSON: ${(cause as Error).message}`)
  }
}

function parsed(answer: string): Report {
  const report = JSON.parse(answer) as Report | { error: { field: string; message: string } }
  if ('error' in report) throw new UsageError(report.error.message)
  return report
}
