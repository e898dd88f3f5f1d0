/** What a scrape gathers before it is written, as `crates/metrics/src/collect.rs`. */
import type { Histogram } from './metrics-histogram.js'

export type MetricKind = 'counter' | 'gauge' | 'histogram'
export type Labels = readonly (readonly [string, string])[]

export type MetricSample =
  | { readonly labels: Labels; readonly value: number }
  /** `scale`: exported units in one recorded unit (1e-6: microseconds to seconds). */
  | { readonly labels: Labels; readonly histogram: Histogram; readonly scale: number }

/** Every series of one name; a counter's name is without `_total`. */
export interface Family {
  readonly name: string
  readonly kind: MetricKind
  readonly help: string
  readonly samples: MetricSample[]
}

/** Gathers series by family. A name has one kind; whoever came first decides. */
export class MetricCollector {
  readonly #families = new Map<string, Family>()

  /** `name` with or without `_total`. */
  counter(name: string, help: string, labels: Labels, value: number): void {
    this.add(withoutTotal(name), 'counter', help, { labels, value })
  }
  gauge(name: string, help: string, labels: Labels, value: number): void {
    this.add(name, 'gauge', help, { labels, value })
  }
  histogram(name: string, help: string, labels: Labels, histogram: Histogram, scale: number): void {
    this.add(name, 'histogram', help, { labels, histogram, scale })
  }

  /** A series of a family whose name is without `_total`. */
  add(name: string, kind: MetricKind, help: string, sample: MetricSample): void {
    const family = this.#families.get(name) ?? { name, kind, help, samples: [] }
    this.#families.set(name, family)
    if (family.kind === kind) family.samples.push(sample)
  }

  /** Everything gathered, by name. */
  families(): Family[] {
    return [...this.#families.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
  }
}

/** A counter's family goes without the suffix; the writers add it. */
export function withoutTotal(name: string): string {
  return name.endsWith('_total') ? name.slice(0, -'_total'.length) : name
}

/** The name of the series in most formats. */
export function seriesName({ name, kind }: Family): string {
  return kind === 'counter' ? `${name}_total` : name
}

/** The shares that every format shows of a histogram, by their names there. */
export const QUANTILES = [
  ['p50', 0.5],
  ['p90', 0.9],
  ['p95', 0.95],
  ['p99', 0.99],
  ['p999', 0.999],
] as const

/** Labels as an object, by name. */
export function labelsObject(labels: Labels): Record<string, string> {
  return Object.fromEntries([...labels].sort(([a], [b]) => (a < b ? -1 : 1)))
}
