/**
 * `mesh.reload`: policies and weights of a running mesh changed with the care that `linkmesh up` takes for a config file:
 * checked, tried on the latest picks in the shadow, applied in one turn, watched, and taken back when it made things worse.
 */
import type { InstanceInfo, Policy, ServiceInfo } from '../binding/contract.js'
import { type ConfigChange, differences } from '../config/changes.js'
import { CancelledError, LinkmeshError } from '../errors.js'
import { merged } from '../mesh/merge.js'
import {
  checkFields,
  checkInteger,
  checkName,
  checkNumber,
  checkRecord,
  checkSignal,
  invalid,
  shown,
} from '../mesh/checks.js'
import type { Core } from '../mesh/core.js'
import { type Bounds, DEFAULT_BOUNDS } from './bounds.js'
import { Guard } from './guard.js'
import { RecentAnswers } from './recent.js'
import { NOTHING, type ReloadReport } from './report.js'
import { RouterAnswers } from './router-answers.js'
import { type ShadowSide, shadow } from './shadow.js'
import { checkPolicy } from './trial.js'

/** What is to be from now on. What is left out stays. */
export interface MeshConfig {
  services: Record<string, ServiceConfig>
}

export interface ServiceConfig {
  /** These fields of its policy; the others stay. */
  policy?: Policy
  /** Weights, 1 to 1,000, by address, by name (`metadata.instance`) or by handle. */
  weights?: Record<string, number>
}

export interface MeshReloadOptions extends Partial<Bounds> {
  /** Check, compare and evaluate, and change nothing. */
  dryRun?: boolean
  /** How long requests are counted before the change, to compare with: milliseconds, default 2,000. */
  beforeMs?: number
  /** Who wants it; it stands in the audit trail. Default `api`. */
  by?: string
  /** Ends the watch: the change stays unless it was worse so far. */
  signal?: AbortSignal
}

const DEFAULT_BEFORE_MS = 2_000
const MAX_MS = 3_600_000
const OPTIONS: ReadonlySet<string> = new Set([
  'dryRun', 'beforeMs', 'by', 'signal', 'watchMs', 'minRequests', 'errorIncrease', 'latencyFactor',
]) // biome-ignore format: a list

/** A service as it is and as it shall be. */
interface Step {
  info: ServiceInfo
  policy: Policy
  /** By handle; only those that change. */
  weights: Map<number, number>
}

export async function reloadMesh(core: Core, config: MeshConfig, options: MeshReloadOptions): Promise<ReloadReport> {
  const { by, beforeMs, bounds, signal, dryRun } = checkOptions(options)
  const { mesh } = core
  const steps = stepsOf(mesh.services(), config)
  const changes = steps.flatMap((step) => changesOf(step))
  if (changes.length === 0) return { verdict: 'unchanged', ...NOTHING }
  const evaluated = shadow(mesh, {
    services: steps.map((step) => ({
      service: step.info.name,
      before: sideOf(step, false),
      after: sideOf(step, true),
    })),
  })
  if (dryRun) return { verdict: 'checked', ...NOTHING, changes, shadow: evaluated }

  if (core.tap !== undefined) throw new LinkmeshError('LM_CONFLICT', 'another reload of this mesh is under way')
  const services = new Set(steps.map(({ info }) => info.name))
  // Of this thread's requests all is seen, of those of other threads what the router counts.
  const [own, all] = [new RecentAnswers(), new RouterAnswers(core, services)]
  core.tap = tapOf(own, services)
  const record = (action: string, details: object) =>
    mesh.audit.append({ actor: by, action, target: mesh.name, details })
  const report: ReloadReport = { verdict: 'applied', ...NOTHING, changes, shadow: evaluated }
  try {
    // First the trail, then the deed: when the trail cannot be written, nothing is done.
    await record('config.reload', { changes, shadow: evaluated })
    await all.look()
    await pause(beforeMs, signal)
    await all.look()
    const guard = new Guard([own, all.answers], bounds, () => all.look())
    try {
      for (const step of steps) apply(core, step.info.name, step.policy, step.weights)
      guard.changed()
      report.watched = await guard.watch(signal)
      if (report.watched.worse !== undefined) report.reason = report.watched.worse
    } catch (error) {
      report.reason = (error as Error).message
      guard.end()
    }
    if (core.closed) return report
    if (report.reason !== undefined) {
      for (const { info, weights } of steps) apply(core, info.name, info.policy as Policy, weightsBefore(info, weights))
      report.verdict = 'rolled-back'
    }
    await record(`config.${report.verdict}`, { watched: report.watched, reason: report.reason })
    return report
  } finally {
    core.tap = undefined
  }
}

function checkOptions(options: MeshReloadOptions) {
  checkFields(checkRecord(options, 'options'), OPTIONS, 'options')
  const { dryRun = false, beforeMs = DEFAULT_BEFORE_MS, by = 'api', signal, ...given } = options
  checkName(by, 'options.by')
  const bounds: Bounds = { ...DEFAULT_BOUNDS }
  for (const [field, value] of Object.entries(given)) if (value !== undefined) bounds[field as keyof Bounds] = value
  checkNumber(beforeMs, 'options.beforeMs', 0, MAX_MS)
  checkNumber(bounds.watchMs, 'options.watchMs', 100, MAX_MS)
  checkInteger(bounds.minRequests, 'options.minRequests', 1, 1_000_000)
  checkNumber(bounds.errorIncrease, 'options.errorIncrease', 0, 1)
  checkNumber(bounds.latencyFactor, 'options.latencyFactor', 1, 1_000)
  const ends = signal === undefined ? new AbortController().signal : checkSignal(signal)
  return { dryRun: dryRun === true, beforeMs, by, bounds, signal: ends }
}

/** Checks all of it before any of it is done. */
function stepsOf(services: readonly ServiceInfo[], config: MeshConfig): Step[] {
  checkFields(checkRecord(config, 'config'), new Set(['services']), 'config')
  return Object.entries(checkRecord(config.services, 'config.services')).map(([name, given]) => {
    const field = `config.services[${JSON.stringify(name)}]`
    checkFields(checkRecord(given, field), new Set(['policy', 'weights']), field)
    const { policy = {}, weights = {} } = given as ServiceConfig
    const info = services.find((service) => service.name === name)
    if (info === undefined) throw new LinkmeshError('LM_NOT_FOUND', `there is no service ${shown(name)}`, { field })
    const next = merged(info.policy, checkRecord(policy, `${field}.policy`)) as Policy
    checkPolicy(name, next)
    const changed = new Map<number, number>()
    for (const [called, weight] of Object.entries(checkRecord(weights, `${field}.weights`))) {
      const place = `${field}.weights[${JSON.stringify(called)}]`
      const instance = info.instances.find((one) => isCalled(one, called))
      if (instance === undefined) throw invalid(place, `${name} has no instance ${shown(called)}`)
      if (checkInteger(weight, place, 1, 1_000) !== instance.weight) changed.set(instance.handle, weight as number)
    }
    return { info, policy: next, weights: changed }
  })
}

function changesOf({ info, policy, weights }: Step): ConfigChange[] {
  const names = info.instances.filter(({ handle }) => weights.has(handle))
  const side = (of: unknown, weightOf: (one: InstanceInfo) => number) => ({
    services: {
      [info.name]: { policy: of, weights: Object.fromEntries(names.map((one) => [nameOf(one), weightOf(one)])) },
    },
  })
  return differences(
    side(info.policy, ({ weight }) => weight),
    side(policy, ({ handle }) => weights.get(handle) as number),
  )
}

function sideOf({ info, policy, weights }: Step, after: boolean): ShadowSide {
  return {
    policy: after ? policy : (info.policy as Policy),
    instances: info.instances.map((one) => ({
      name: nameOf(one),
      latencyUs: one.latencyUs || info.latency.p50Us || 1_000,
      weight: (after ? weights.get(one.handle) : undefined) ?? one.weight,
      zone: one.zone,
      tags: one.tags,
      priority: one.priority,
    })),
  }
}

function weightsBefore(info: ServiceInfo, changed: ReadonlyMap<number, number>): Map<number, number> {
  return new Map(
    info.instances.filter(({ handle }) => changed.has(handle)).map(({ handle, weight }) => [handle, weight]),
  )
}

/** An instance that has gone meanwhile has no weight to change. */
function apply(core: Core, name: string, policy: Policy, weights: ReadonlyMap<number, number>): void {
  core.mesh.define(name, policy)
  for (const [instance, weight] of weights)
    core.binding.instanceUpdate(core.handle, instance, JSON.stringify({ weight }))
}

/** Counts what becomes of requests to these services. */
function tapOf(answers: RecentAnswers, services: ReadonlySet<string>): NonNullable<Core['tap']> {
  return (service, reply) => {
    if (!services.has(service)) return
    const began = performance.now()
    const ended = (failed: boolean): void => answers.record((performance.now() - began) * 1_000, failed)
    reply.then(
      () => ended(false),
      // Whoever gave up by himself has found nothing wrong.
      (error: unknown) => !(error instanceof CancelledError) && ended(true),
    )
  }
}

/** Until the time is over or the signal fires. Keeps the process alive: a reload under way is work under way. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (ms === 0 || signal.aborted) return resolve()
    const end = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', end)
      resolve()
    }
    const timer = setTimeout(end, ms)
    signal.addEventListener('abort', end)
  })
}

function nameOf({ metadata, address, handle }: InstanceInfo): string {
  return metadata.instance ?? address ?? String(handle)
}

function isCalled(instance: InstanceInfo, wanted: string): boolean {
  return instance.address === wanted || instance.metadata.instance === wanted || String(instance.handle) === wanted
}
