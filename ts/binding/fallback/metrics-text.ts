/**
 * What a scrape gathers, and how it is written: Prometheus text 0.0.4, OpenMetrics 1.0 and JSON, byte for byte what
 * `crates/metrics` writes (JSON but for the order of keys).
 */
import type { Histogram } from './metrics-histogram.js'

export type MetricKind = 'counter' | 'gauge' | 'histogram'
export type MetricFormat = 'prometheus' | 'openmetrics' | 'json'
type Labels = readonly (readonly [string, string])[]

export type MetricSample =
  | { readonly labels: Labels; readonly value: number }
  /** `scale`: exported units in one recorded unit (1e-6: microseconds to seconds). */
  | { readonly labels: Labels; readonly histogram: Histogram; readonly scale: number }

interface Family {
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
    const family = this.#families.get(name) ?? { kind, help, samples: [] }
    this.#families.set(name, family)
    if (family.kind === kind) family.samples.push(sample)
  }

  /** Everything gathered, by name. */
  render(format: MetricFormat): string {
    const families = [...this.#families].sort(([a], [b]) => (a < b ? -1 : 1))
    if (format === 'json') return renderJson(families)
    return (
      families.map(([name, family]) => renderText(name, family, format)).join('') +
      (format === 'openmetrics' ? '# EOF\n' : '')
    )
  }
}

/** A counter's family goes without the suffix; the writers add it. */
export function withoutTotal(name: string): string {
  return name.endsWith('_total') ? name.slice(0, -'_total'.length) : name
}

function renderText(name: string, family: Family, format: MetricFormat): string {
  const total = family.kind === 'counter' ? '_total' : ''
  // Prometheus 0.0.4 names a counter's family with the suffix, OpenMetrics without.
  const shown = format === 'prometheus' ? total : ''
  const help = escaped(family.help, format === 'openmetrics')
  let text = `# HELP ${name}${shown} ${help}\n# TYPE ${name}${shown} ${family.kind}\n`
  for (const sample of family.samples) {
    if ('value' in sample) text += line(name + total, sample.labels, sample.value)
    else text += renderHistogram(name, sample.labels, sample.histogram, sample.scale)
  }
  return text
}

function renderHistogram(name: string, labels: Labels, histogram: Histogram, scale: number): string {
  const [first, last, step] = scale === 1 ? [-20, 40, 2] : [0, 26, 1]
  let text = ''
  for (let octave = first; octave <= last; octave += step) {
    const edge = decimal(2 ** octave * scale)
    text += line(`${name}_bucket`, [...labels, ['le', edge]], histogram.belowPower(octave))
  }
  text += line(`${name}_bucket`, [...labels, ['le', '+Inf']], histogram.count)
  text += line(`${name}_sum`, labels, histogram.sum * scale)
  return text + line(`${name}_count`, labels, histogram.count)
}

function line(name: string, labels: Labels, value: number): string {
  const pairs = labels.map(([label, text]) => `${label}="${escaped(text, true)}"`).join(',')
  return `${name}${pairs === '' ? '' : `{${pairs}}`} ${decimal(value)}\n`
}

function escaped(text: string, quotes: boolean): string {
  const safe = text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')
  return quotes ? safe.replaceAll('"', '\\"') : safe
}

/** Shortest digits that read back as the same number, without an exponent; whole numbers with `.0`. */
export function decimal(value: number): string {
  if (Number.isInteger(value) && Math.abs(value) < 1e15) return `${Object.is(value, -0) ? '-' : ''}${value}.0`
  const text = String(value)
  const parts = /^(-?)(\d)(?:\.(\d+))?e([+-]\d+)$/.exec(text)
  if (parts === null) return text
  const [, sign, whole, fraction = '', exponent] = parts
  const digits = `${whole}${fraction}`
  const point = 1 + Number(exponent)
  return point <= 0 ? `${sign}0.${'0'.repeat(-point)}${digits}` : `${sign}${digits.padEnd(point, '0')}`
}

function renderJson(families: readonly [string, Family][]): string {
  const all = families.map(([name, { kind, help, samples }]) => {
    const series = samples.map((sample) => {
      const labels = Object.fromEntries(sample.labels)
      if ('value' in sample) return { labels, value: sample.value }
      const { histogram, scale } = sample
      const at = (q: number) => histogram.quantile(q) * scale
      return {
        labels,
        count: histogram.count,
        sum: histogram.sum * scale,
        max: histogram.max * scale,
        p50: at(0.5),
        p90: at(0.9),
        p95: at(0.95),
        p99: at(0.99),
        p999: at(0.999),
      }
    })
    return [kind === 'counter' ? `${name}_total` : name, { kind, help, series }]
  })
  return JSON.stringify(Object.fromEntries(all))
}
