/** Series by name and labels: the rules and limits of `crates/metrics/src/registry.rs`. */
import { exceeded, invalid } from './edge.js'
import { type MetricCollector, type MetricKind, withoutTotal } from './metrics-collector.js'
import { Histogram } from './metrics-histogram.js'
import { checkHelp, checkLabels, checkMetricName, readLabels } from './metrics-names.js'

const KINDS: readonly MetricKind[] = ['counter', 'gauge', 'histogram']
/** Series in all families together. */
const SERIES = 10_000

/** One series, shared by everybody who asked for it. */
export class Metric {
  readonly kind: MetricKind
  readonly labels: readonly (readonly [string, string])[]
  readonly histogram: Histogram | undefined
  #value = 0

  constructor(kind: MetricKind, labels: readonly (readonly [string, string])[]) {
    this.kind = kind
    this.labels = labels
    this.histogram = kind === 'histogram' ? new Histogram() : undefined
  }

  /** Of a counter or gauge. */
  get value(): number {
    return this.#value
  }

  /**
   * Adds to a counter, sets a gauge, records into a histogram. `false`: the value is refused (NaN, infinite, or
   * negative where that has no meaning).
   */
  record(value: number): boolean {
    if (this.histogram !== undefined) return this.histogram.record(value)
    if (!Number.isFinite(value) || (this.kind === 'counter' && value < 0)) return false
    this.#value = this.kind === 'counter' ? this.#value + value : value + 0
    return true
  }
}

interface Family {
  readonly kind: MetricKind
  readonly help: string
  readonly series: Map<string, Metric>
}

/** Get-or-create of series, within a limit. */
export class FallbackMetrics {
  readonly #families = new Map<string, Family>()
  #series = 0

  /** The series of that name and those labels, made when there is none. `labels`: JSON object of strings, or ''. */
  open(kind: number, name: string, labels: string, help: string): Metric {
    const word = KINDS[kind]
    if (word === undefined) throw invalid('kind', 'the kind is 0 (counter), 1 (gauge) or 2 (histogram)')
    const read = readLabels(labels)
    checkMetricName(name)
    checkLabels(read)
    checkHelp(help)
    const known = word === 'counter' ? withoutTotal(name) : name
    const family = this.#families.get(known) ?? { kind: word, help, series: new Map<string, Metric>() }
    if (family.kind !== word) throw invalid('name', `'${known}' is a ${family.kind} already`)
    const key = JSON.stringify(read)
    const metric = family.series.get(key)
    if (metric !== undefined) return metric
    if (this.#series >= SERIES) throw exceeded('series', "too many series: is a label's value unbounded?", SERIES)
    const made = new Metric(word, read)
    family.series.set(key, made)
    this.#families.set(known, family)
    this.#series += 1
    return made
  }

  /** Adds every series to `out`, in the order of names and labels. */
  collect(out: MetricCollector): void {
    for (const [name, { help, series }] of this.#families) {
      for (const metric of [...series.values()].sort(byLabels)) {
        const { kind, labels, histogram } = metric
        const sample = histogram === undefined ? { labels, value: metric.value } : { labels, histogram, scale: 1 }
        out.add(name, kind, help, sample)
      }
    }
  }
}

/** The order of the pairs, as lists of UTF-8 strings. */
function byLabels(a: Metric, b: Metric): number {
  for (const [at, [name, value]] of a.labels.entries()) {
    const other = b.labels[at]
    if (other === undefined) return 1
    const order = compare(name, other[0]) || compare(value, other[1])
    if (order !== 0) return order
  }
  return a.labels.length - b.labels.length
}

function compare(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b))
}
