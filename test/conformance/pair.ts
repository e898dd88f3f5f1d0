/** One call made on both backends, every answer compared. */
import { inspect, isDeepStrictEqual } from 'node:util'
import type { Binding } from '../../ts/binding/contract.js'
import { refusal } from './backends.js'

type Name = {
  [K in keyof Binding]: Binding[K] extends (...args: never[]) => number | string ? K : never
}[keyof Binding]
type Arguments<K extends Name> = Parameters<Binding[K]>

/** Hot functions answer by a bare status and leave no details. */
const HOT: ReadonlySet<Name> = new Set<Name>([
  'hashKey',
  'idTableGetString',
  'idTableGetNumber',
  'idTableGetBytes',
  'idTableGetManyU32',
  'idTableGetManyU64',
  'idTableGetManyStrings',
  'radixMatch',
  'radixMatchMany',
  'radixLongestPrefix',
  'ringPush',
  'ringPop',
  'pick',
  'complete',
  'completeMany',
  'completeRejected',
  'hedge',
  'hedgeAfter',
  'metricRecord',
  'retry',
])

/** Typed arrays that a call writes are given twice, one for each side. */
function copyOf(argument: unknown): unknown {
  return ArrayBuffer.isView(argument) ? structuredClone(argument) : argument
}

function parsed(answer: unknown): unknown {
  return typeof answer === 'string' && /^[[{]/.test(answer) ? JSON.parse(answer) : answer
}

/** Every place where two values differ: path, one side, the other. */
function differences(left: unknown, right: unknown, path = ''): [string, unknown, unknown][] {
  if (isDeepStrictEqual(left, right)) return []
  if (typeof left !== 'object' || typeof right !== 'object' || left === null || right === null)
    return [[path, left, right]]
  const keys = new Set([...Object.keys(left), ...Object.keys(right)])
  const at = (value: object, key: string) => (value as Record<string, unknown>)[key]
  return [...keys].flatMap((key) => differences(at(left, key), at(right, key), `${path}.${key}`))
}

export class Difference extends Error {}

export class Pair {
  readonly native: Binding
  readonly fallback: Binding
  /** Calls made so far. */
  calls = 0
  /** How often each function answered with each status; `ok` for anything else. A fuzz that meets nothing proves nothing. */
  readonly met = new Map<string, number>()
  readonly #history: string[] = []

  constructor(native: Binding, fallback: Binding) {
    this.native = native
    this.fallback = fallback
  }

  /** Calls both; throws a {@link Difference} unless answers, written arrays and refusals agree. Returns the answer. */
  call<K extends Name>(name: K, ...args: Arguments<K>): ReturnType<Binding[K]> {
    this.calls++
    const mirrored = args.map(copyOf)
    const fallback = (this.fallback[name] as (...args: unknown[]) => unknown)(...args)
    const native = (this.native[name] as (...args: unknown[]) => unknown)(...mirrored)
    this.#remember(name, args, fallback)
    this.note(`${name} ${typeof fallback === 'number' && fallback < 0 ? fallback : 'ok'}`)
    const refused = (typeof fallback === 'number' && fallback < 0) || fallback === ''
    if (!isDeepStrictEqual(parsed(native), parsed(fallback))) this.differ(name, 'answer', native, fallback)
    for (const [i, argument] of args.entries()) {
      if (!isDeepStrictEqual(mirrored[i], argument)) this.differ(name, `argument ${i}`, mirrored[i], argument)
    }
    if (refused && !HOT.has(name)) {
      const [left, right] = [refusal(this.native), refusal(this.fallback)]
      if (!isDeepStrictEqual(left, right))
        this.differ(name, 'refusal', this.native.lastError(), this.fallback.lastError())
    }
    return fallback as ReturnType<Binding[K]>
  }

  /** Counts something that was met. */
  note(what: string): void {
    this.met.set(what, (this.met.get(what) ?? 0) + 1)
  }

  /** Compares two values that were read outside of {@link call}. */
  same(what: string, native: unknown, fallback: unknown): void {
    if (!isDeepStrictEqual(native, fallback)) this.differ(what, 'value', native, fallback)
  }

  differ(name: string, what: string, native: unknown, fallback: unknown): never {
    const show = (value: unknown) => inspect(value, { depth: 8, breakLength: 160, maxStringLength: 2_000 })
    const found = differences(parsed(native), parsed(fallback))
    const lines = found.map(([path, left, right]) => `${path}: native ${show(left)}, fallback ${show(right)}`)
    throw new Difference(
      `after ${this.calls} calls, ${name}: ${what} differs\n  ${lines.slice(0, 8).join('\n  ')}\n  the last calls:\n    ${this.#history.join('\n    ')}`,
    )
  }

  #remember(name: string, args: readonly unknown[], answer: unknown): void {
    const short = (value: unknown) =>
      inspect(value, { breakLength: Number.POSITIVE_INFINITY, maxStringLength: 200, maxArrayLength: 8 })
    this.#history.push(`${name}(${args.map(short).join(', ')}) -> ${short(answer)}`)
    if (this.#history.length > 12) this.#history.shift()
  }
}
