/** What differs between two configs, field by field, and which fields cannot change while a config runs. */
import { type ConfigProblem, fieldPath } from './problem.js'
import type { Config } from './schema.js'

/** One field that differs. */
export interface ConfigChange {
  /** `services.orders.policy.concurrency` */
  path: string
  /** Undefined: it was not there. */
  from: unknown
  /** Undefined: it is gone. */
  to: unknown
}

/** Fields that are read once, at the start. */
const FIXED: readonly RegExp[] = [
  /^(name|seed|workers|listen|join)$/,
  /^load\b/,
  /^gateway$/,
  /^gateway\.(host|port|graceMs)$/,
  // Node takes it when the server is made.
  /^gateway\.limits\.headerBytes$/,
  // Other code is another deployment: start the new beside the old.
  /^services\.[^.[]+\.module$/,
]

/** The fields that differ, in the order of their paths. Lists are compared as a whole. */
export function configChanges(before: Config, after: Config): ConfigChange[] {
  return differences(before, after)
}

/** The same of any two values. */
export function differences(before: unknown, after: unknown): ConfigChange[] {
  const changes: ConfigChange[] = []
  compare(before, after, [], changes)
  return changes.sort((a, b) => (a.path < b.path ? -1 : 1))
}

/** The changes that need a new start, as problems of the new config. */
export function fixedChanges(changes: readonly ConfigChange[]): ConfigProblem[] {
  return changes
    .filter(({ path }) => FIXED.some((fixed) => fixed.test(path)))
    .map(({ path, from, to }) => ({
      path,
      message: `cannot change while it runs (${shown(from)} → ${shown(to)}); start it again`,
    }))
}

/** `services.orders.policy.concurrency: 256 → 8` */
export function describeChange({ path, from, to }: ConfigChange): string {
  return `${path}: ${shown(from)} → ${shown(to)}`
}

function compare(before: unknown, after: unknown, path: readonly PropertyKey[], changes: ConfigChange[]): void {
  if (isRecord(before) && isRecord(after)) {
    for (const key of new Set([...Object.keys(before), ...Object.keys(after)]))
      compare(before[key], after[key], [...path, key], changes)
    return
  }
  if (JSON.stringify(before) !== JSON.stringify(after)) changes.push({ path: fieldPath(path), from: before, to: after })
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

const SHOWN = 120

function shown(value: unknown): string {
  if (value === undefined) return 'nothing'
  const text = JSON.stringify(value)
  return text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text
}
