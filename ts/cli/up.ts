/** `linkmesh up`: starts what a config describes, shows it live, and ends with an account of the run. */
import { randomInt } from 'node:crypto'
import { resolve } from 'node:path'
import type { Config } from '../config/schema.js'
import { loadConfig } from '../config.js'
import type { LoadOptions } from './load/messages.js'
import { RecentAnswers } from '../reload/recent.js'
import { EXIT, UsageError } from './output.js'
import { Chaos } from './up/chaos.js'
import { Happenings } from './up/happenings.js'
import { Monitor } from './up/monitor.js'
import { type Run, startRun } from './up/run.js'
import { Screen } from './up/screen.js'
import { Reloader } from './up/reloader.js'
import { isGood, renderSummary, summarize } from './up/summary.js'

export interface UpOptions {
  once?: boolean
  requests?: number
  log?: string
  speed?: number | 'max'
  rate?: number | 'max'
  seed?: number
  port?: number
  /** Processes; 1 unless it says otherwise. */
  nodes?: number
  /** Folder of dead letters and audit trail. */
  data?: string
  json?: boolean
  chaos?: boolean
  /** `--no-load` */
  load?: boolean
}

const DEFAULT_RATE = 1_000
const DEFAULT_REQUESTS = 20_000
/** Requests at once when as fast as possible: enough to keep every thread busy, few enough that latency means something. */
const MAX_WINDOW = 64

export async function up(file: string | undefined, options: UpOptions): Promise<void> {
  const loaded = await loadConfig(file)
  const { config } = loaded
  const seed = options.seed ?? config.seed ?? randomInt(2 ** 31)
  const load = loadOptions(options, config, seed)
  const monitor = new Monitor()
  const happenings = new Happenings()
  const answers = new RecentAnswers()
  const run = await startRun(loaded, {
    seed,
    ...(options.port === undefined ? {} : { port: options.port }),
    ...(options.nodes === undefined ? {} : { nodes: options.nodes }),
    ...(options.data === undefined ? {} : { data: resolve(options.data) }),
    ...(load ? { load } : {}),
    onAnswer: (answer) => {
      monitor.onAnswer(answer)
      answers.record(answer.us, answer.status >= 500 || answer.status === 429)
    },
  })
  happenings.follow(run.mesh)
  monitor.attach(run)
  const stop = stopSignal()
  const reloader = new Reloader({
    mesh: run.mesh,
    parts: run.live,
    loaded,
    answers,
    say: (text) => happenings.add(text),
    onReport: (report) => {
      if (options.json) process.stdout.write(`${JSON.stringify({ type: 'reload', ...report })}\n`)
    },
  })
  run.mesh.admin.onReload = (how) => reloader.reload(how)
  const onHangUp = (): void => void reloader.reload({ by: 'SIGHUP' }).catch(() => {})
  if (process.platform !== 'win32') process.on('SIGHUP', onHangUp)
  const screen = new Screen({
    run,
    config,
    monitor,
    happenings,
    json: options.json === true,
    quit: stop.request,
    reload: () => void reloader.reload({ by: 'key' }).catch(() => {}),
  })
  screen.announce(seed)
  const chaos = options.chaos ? new Chaos(run.fleet, happenings, seed) : undefined
  try {
    screen.start()
    reloader.start()
    chaos?.start()
    await driven(run, options, stop.requested, async () => {
      await chaos?.stop()
      screen.stop()
      return chaos?.kills ?? 0
    }, options.json === true) // biome-ignore format: one call
  } finally {
    screen.stop()
    await chaos?.stop().catch(() => {})
    process.off('SIGHUP', onHangUp)
    await reloader.close().catch(() => {})
    await run.close()
    stop.dispose()
  }
}

/** Runs until the load is through or somebody says stop, then prints the account. */
async function driven(
  run: Run,
  options: UpOptions,
  stopped: Promise<void>,
  settle: () => Promise<number>,
  json: boolean,
): Promise<void> {
  if (!run.load) {
    await stopped
    await settle()
    return
  }
  const before = retries(run)
  void stopped.then(() => run.load?.stop())
  const report = await run.load.start()
  const killed = await settle()
  const summary = summarize(report, retries(run) - before, killed, run.nodes(), run.mesh.backend)
  process.stdout.write(json ? `${JSON.stringify({ type: 'summary', ...summary })}\n` : renderSummary(summary))
  if (!isGood(summary) || (options.once && summary.routed === 0)) process.exitCode = EXIT.failed
}

function retries(run: Run): number {
  return run.mesh.services().reduce((sum, service) => sum + service.retries, 0)
}

function loadOptions(
  options: UpOptions,
  config: Config,
  seed: number,
): Omit<LoadOptions, 'url' | 'module' | 'compiled'> | undefined {
  const wanted =
    options.once || options.log !== undefined || options.rate !== undefined || options.requests !== undefined
  if (options.load === false) {
    if (wanted) throw new UsageError('--no-load does not go with --once, --log, --rate or --requests')
    return undefined
  }
  if (!config.load || !config.gateway) {
    if (wanted || options.chaos)
      throw new UsageError(
        'there is nothing to send: the config needs `gateway` and `load: { module }` for --once, --log, --rate, --requests and --chaos',
      )
    return undefined
  }
  const requests =
    options.requests ?? (options.once && options.log === undefined ? (config.load.requests ?? DEFAULT_REQUESTS) : null)
  return {
    seed,
    rate: options.rate ?? config.load.rate ?? DEFAULT_RATE,
    requests,
    log: options.log === undefined ? null : resolve(options.log),
    speed: options.speed ?? 'max',
    window: MAX_WINDOW,
  }
}

/** First SIGINT, SIGTERM or `q`: drain. Second: leave at once. */
function stopSignal() {
  let request = () => {}
  const requested = new Promise<void>((resolve) => {
    request = resolve
  })
  let count = 0
  const onSignal = () => {
    if (++count > 1) process.exit(130)
    request()
  }
  process.on('SIGINT', onSignal)
  process.on('SIGTERM', onSignal)
  const dispose = () => {
    process.off('SIGINT', onSignal)
    process.off('SIGTERM', onSignal)
  }
  return { requested, request: onSignal, dispose }
}
