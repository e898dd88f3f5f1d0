/** Reloads a running config: checked, compared, tried in the shadow, applied, watched, and taken back when it made things worse. */
import { type FSWatcher, watch } from 'node:fs'
import { basename, dirname } from 'node:path'
import { type ConfigChange, configChanges, describeChange, fixedChanges } from '../../config/changes.js'
import { ConfigError, type ConfigProblem } from '../../config/problem.js'
import { type LoadedConfig, loadConfig } from '../../config.js'
import { LinkmeshError } from '../../errors.js'
import { type Bounds, DEFAULT_BOUNDS } from '../../reload/bounds.js'
import { Guard } from '../../reload/guard.js'
import type { Mesh } from '../../mesh.js'
import type { RecentAnswers } from '../../reload/recent.js'
import { NOTHING, type ReloadReport } from '../../reload/report.js'
import { shadow } from '../../reload/shadow.js'
import { time } from './format.js'
import { applyConfig, type LiveParts } from './live-config.js'
import { shadowPlan } from './shadow-plan.js'

export interface ReloaderOptions {
  mesh: Mesh
  parts: LiveParts
  loaded: LoadedConfig
  answers: RecentAnswers
  /** Told each step, for people. */
  say: (text: string) => void
  /** Told each report. */
  onReport?: (report: ReloadReport) => void
}

/** Editors write a file in several steps. */
const SETTLE_MS = 100

export class Reloader {
  readonly #options: ReloaderOptions
  #loaded: LoadedConfig
  #queue: Promise<unknown> = Promise.resolve()
  #watcher: FSWatcher | undefined
  #settling: NodeJS.Timeout | undefined
  readonly #ended = new AbortController()

  constructor(options: ReloaderOptions) {
    this.#options = options
    this.#loaded = options.loaded
  }

  /** The config that runs. */
  get config(): LoadedConfig['config'] {
    return this.#loaded.config
  }

  /** Reloads when the file changes, unless the config says not to. Keeps no process alive. */
  start(): void {
    const { path, config } = this.#loaded
    if (config.reload?.watch === false) return
    // The folder: an editor that writes a new file and renames it leaves a watcher of the file with the old one.
    this.#watcher = watch(dirname(path), { persistent: false }, (_event, name) => {
      if (name !== basename(path)) return
      clearTimeout(this.#settling)
      this.#settling = setTimeout(() => void this.reload({ by: 'file change' }).catch(() => {}), SETTLE_MS)
      this.#settling.unref()
    })
    this.#watcher.on('error', (error) => this.#options.say(`the config is no longer watched: ${error.message}`))
  }

  /** One after the other. Rejects only when the audit trail cannot be written: then nothing was changed. */
  reload({ dryRun = false, by = 'api' }: { dryRun?: boolean; by?: string } = {}): Promise<ReloadReport> {
    const next = this.#queue.then(() => this.#reload(dryRun, by))
    this.#queue = next.catch(() => {})
    return next
  }

  /** Watches no longer; a reload that is under way ends its watch now. */
  async close(): Promise<void> {
    clearTimeout(this.#settling)
    this.#watcher?.close()
    this.#ended.abort()
    await this.#queue
  }

  async #reload(dryRun: boolean, by: string): Promise<ReloadReport> {
    const { parts, say } = this.#options
    const before = this.#loaded
    let after: LoadedConfig
    try {
      after = await loadConfig(before.path)
    } catch (error) {
      if (error instanceof ConfigError) return this.#refused(by, [], error.problems)
      throw error
    }
    const changes = configChanges(before.config, after.config)
    if (changes.length === 0) return this.#done({ verdict: 'unchanged', ...NOTHING })
    const fixed = fixedChanges(changes)
    if (fixed.length > 0) return this.#refused(by, changes, fixed)
    let evaluated: ReloadReport['shadow']
    try {
      evaluated = shadow(parts.mesh, shadowPlan(parts.mesh, before.config, after.config))
    } catch (error) {
      // The file is right, and this backend cannot do what it asks for.
      if (!(error instanceof LinkmeshError)) throw error
      return this.#refused(by, changes, [{ path: error.field ?? '', message: error.message }])
    }
    if (dryRun) return this.#done({ verdict: 'checked', ...NOTHING, changes, shadow: evaluated })

    // First the trail, then the deed: when the trail cannot be written, nothing is done.
    await this.#record(by, 'config.reload', { changes, shadow: evaluated })
    for (const change of changes) say(`reload: ${describeChange(change)}`)
    const bounds = boundsOf(before)
    const guard = new Guard([this.#options.answers], bounds)
    const report: ReloadReport = { verdict: 'applied', ...NOTHING, changes, shadow: evaluated }
    try {
      // Starting what is new takes the machine's time, and is not the change.
      await applyConfig(parts, after, () => guard.changed())
      this.#loaded = after
      say(`reload: applied, and watched for ${bounds.watchMs / 1_000} s`)
      report.watched = await guard.watch(this.#ended.signal)
      if (report.watched.worse !== undefined) report.reason = report.watched.worse
    } catch (error) {
      report.reason = (error as Error).message
      guard.end()
    }
    if (report.reason !== undefined && !parts.mesh.closed) {
      await applyConfig(parts, before)
      this.#loaded = before
      report.verdict = 'rolled-back'
    }
    if (!parts.mesh.closed)
      await this.#record(by, `config.${report.verdict}`, { watched: report.watched, reason: report.reason })
    return this.#done(report)
  }

  async #refused(by: string, changes: ConfigChange[], problems: readonly ConfigProblem[]): Promise<ReloadReport> {
    await this.#record(by, 'config.refused', { problems })
    return this.#done({ verdict: 'refused', ...NOTHING, changes, problems })
  }

  #done(report: ReloadReport): ReloadReport {
    const { say, onReport } = this.#options
    for (const { path, message } of report.problems) say(`reload refused: ${path || '(file)'}: ${message}`)
    if (report.verdict === 'rolled-back') say(`reload rolled back: ${report.reason}`)
    else if (report.verdict === 'applied') say(`reload stays${judged(report)}`)
    else if (report.verdict === 'unchanged') say('reload: nothing in the file has changed')
    onReport?.(report)
    return report
  }

  #record(actor: string, action: string, details: object): Promise<unknown> {
    const { mesh } = this.#options
    return mesh.audit.append({ actor, action, target: this.#loaded.path, details })
  }
}

/** What it was judged by, in short. */
function judged({ watched }: ReloadReport): string {
  if (watched === null) return ''
  const { requests, failed, p99Us } = watched.after
  if (watched.tooFew) return `: too few requests came to judge it (${requests})`
  return `: ${requests} requests since, ${failed} failed, p99 ${time(watched.before.p99Us)} → ${time(p99Us)}`
}

function boundsOf({ config: { reload = {} } }: LoadedConfig): Bounds {
  const { watchMs, minRequests, errorIncrease, latencyFactor } = reload
  return {
    watchMs: watchMs ?? DEFAULT_BOUNDS.watchMs,
    minRequests: minRequests ?? DEFAULT_BOUNDS.minRequests,
    errorIncrease: errorIncrease ?? DEFAULT_BOUNDS.errorIncrease,
    latencyFactor: latencyFactor ?? DEFAULT_BOUNDS.latencyFactor,
  }
}
