/** What is wrong with a config, one entry per field, and the error that carries them. */
import type { z } from 'zod'
import { LinkmeshError } from '../errors.js'

export interface ConfigProblem {
  /** Path of the wrong field, `services.orders.instances`; '' is the whole file. */
  path: string
  /** What was expected and what was found instead. */
  message: string
}

/** A config that cannot be used. `field` is the first wrong field, `problems` has them all (at most 20). */
export class ConfigError extends LinkmeshError {
  readonly problems: readonly ConfigProblem[]
  constructor(source: string, problems: readonly ConfigProblem[], cause?: unknown) {
    const shown = problems.slice(0, MAX_PROBLEMS)
    const lines = shown.map((problem) => `  ${problem.path || '(file)'}: ${problem.message}`)
    if (problems.length > shown.length) lines.push(`  and ${problems.length - shown.length} more`)
    const field = shown[0]?.path
    super('LM_CONFIG', `${source} is not a usable config:\n${lines.join('\n')}`, {
      ...(field ? { field } : {}),
      ...(cause === undefined ? {} : { cause }),
    })
    this.problems = shown
  }
}
const MAX_PROBLEMS = 20

/** Writes a path so that it can be found in the file: `gateway.routes["GET /x"].timeoutMs`. */
export function fieldPath(path: readonly PropertyKey[]): string {
  let text = ''
  for (const part of path) {
    if (typeof part === 'number') text += `[${part}]`
    else if (/^[A-Za-z_$][\w$-]*$/.test(String(part))) text += text ? `.${String(part)}` : String(part)
    else text += `[${JSON.stringify(String(part).slice(0, 80))}]`
  }
  return text
}

/** One problem per wrong field; a union reports the branch that came closest. */
export function problemsOf(error: z.ZodError, input: unknown): ConfigProblem[] {
  return error.issues.flatMap((issue) => describe(issue, [], input))
}

function describe(issue: z.core.$ZodIssue, prefix: readonly PropertyKey[], input: unknown): ConfigProblem[] {
  const path = [...prefix, ...issue.path]
  const found = describeValue(valueAt(input, path))
  if (issue.code === 'unrecognized_keys')
    return issue.keys.map((key) => ({
      path: fieldPath([...path, key]),
      message: 'no such field; check the spelling or remove it',
    }))
  if (issue.code === 'invalid_union') {
    const closest = closestBranch(issue.errors, valueAt(input, path))
    if (closest) return closest.flatMap((inner) => describe(inner, path, input))
    return [{ path: fieldPath(path), message: `expected ${expectedKinds(issue.errors)}; found ${found}` }]
  }
  if (issue.code === 'invalid_key')
    return issue.issues.map((inner) => ({ path: fieldPath(path), message: `the name itself: ${inner.message}` }))
  const message = issue.message.replace(/^Invalid input: /, '').replace(/^Too (big|small): /, '')
  return [{ path: fieldPath(path), message: `${message}; found ${found}` }]
}

/** What a union takes, when the value is of none of its kinds: `string or object`. */
function expectedKinds(branches: readonly (readonly z.core.$ZodIssue[])[]): string {
  const kinds = branches
    .flat()
    .flatMap((issue) => (issue.code === 'invalid_type' && issue.path.length === 0 ? [issue.expected] : []))
  return [...new Set(kinds)].join(' or ')
}

/** The branch whose kind (text, list, object) the value has, and of those the one with the fewest, deepest issues. */
function closestBranch(
  branches: readonly (readonly z.core.$ZodIssue[])[],
  value: unknown,
): readonly z.core.$ZodIssue[] | undefined {
  const sameKind = branches.filter((issues) => !issues.some((i) => i.path.length === 0 && i.code === 'invalid_type'))
  if (sameKind.length === 0) return undefined
  // A discriminating key the author wrote (`upstream:`) beats a count of issues.
  const unknownKeys = (issues: readonly z.core.$ZodIssue[]) =>
    issues.reduce((n, i) => n + (i.code === 'unrecognized_keys' ? i.keys.length : 0), 0)
  const weight = (issues: readonly z.core.$ZodIssue[]) => issues.length + unknownKeys(issues)
  return typeof value === 'object' ? [...sameKind].sort((a, b) => weight(a) - weight(b))[0] : sameKind[0]
}

/**
 * Paths of fields named `__proto__`. Written in JSON it is an own field; copied to another object it would be the prototype,
 * and zod leaves it out of records without a word.
 */
export function prototypeFields(value: unknown, path: readonly PropertyKey[] = []): ConfigProblem[] {
  if (typeof value !== 'object' || value === null || path.length > DEPTH_MAX) return []
  return Object.keys(value).flatMap((key) =>
    key === '__proto__'
      ? [{ path: fieldPath([...path, key]), message: 'no field may have this name' }]
      : prototypeFields((value as Record<string, unknown>)[key], [...path, Array.isArray(value) ? Number(key) : key]),
  )
}
/** Deeper than any field of a config. */
const DEPTH_MAX = 12

function valueAt(input: unknown, path: readonly PropertyKey[]): unknown {
  let value = input
  for (const part of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part)) return undefined
    value = (value as Record<PropertyKey, unknown>)[part]
  }
  return value
}

function describeValue(value: unknown): string {
  if (value === undefined) return 'nothing'
  if (value === null) return 'null'
  if (typeof value === 'string')
    return value.length > 60 ? `a text of ${value.length} characters` : JSON.stringify(value)
  if (typeof value === 'number' || typeof value === 'boolean') return String(value)
  if (Array.isArray(value)) return `a list of ${value.length}`
  return `a ${typeof value}`
}
