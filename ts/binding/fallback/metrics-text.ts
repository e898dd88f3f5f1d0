/** Prometheus text 0.0.4 and OpenMetrics 1.0, byte for byte what `crates/metrics/src/text.rs` writes. */
import type { Family, Labels, MetricSample } from './metrics-collector.js'

export type TextFormat = 'prometheus' | 'openmetrics'

export function renderText(families: readonly Family[], format: TextFormat): string {
  const text = families.map((family) => renderFamily(family, format)).join('')
  return format === 'openmetrics' ? `${text}# EOF\n` : text
}

function renderFamily(family: Family, format: TextFormat): string {
  const { name } = family
  const total = family.kind === 'counter' ? '_total' : ''
  // Prometheus 0.0.4 names a counter's family with the suffix, OpenMetrics without.
  const shown = format === 'prometheus' ? total : ''
  const help = escaped(family.help, format === 'openmetrics')
  let text = `# HELP ${name}${shown} ${help}\n# TYPE ${name}${shown} ${family.kind}\n`
  for (const sample of family.samples) {
    if ('value' in sample) text += line(name + total, sample.labels, sample.value)
    else text += renderHistogram(name, sample, format)
  }
  return text
}

function renderHistogram(
  name: string,
  { labels, histogram, scale }: Extract<MetricSample, { histogram: unknown }>,
  format: TextFormat,
): string {
  const [first, last, step] = scale === 1 ? [-20, 40, 2] : [0, 26, 1]
  let text = ''
  const bucket = (le: string, from: number, to: number, count: number) => {
    const plain = line(`${name}_bucket`, [...labels, ['le', le]], count)
    const exemplar = format === 'openmetrics' ? histogram.exemplarWithin(from, to) : undefined
    if (exemplar === undefined) {
      text += plain
      return
    }
    const { traceId, spanId, value, atMs } = exemplar
    const shown = `# {trace_id="${traceId}",span_id="${spanId}"} ${decimal(value * scale)} ${decimal(atMs / 1_000)}`
    text += `${plain.slice(0, -1)} ${shown}\n`
  }
  let below = Number.NEGATIVE_INFINITY
  for (let octave = first; octave <= last; octave += step) {
    bucket(decimal(2 ** octave * scale), below, octave, histogram.belowPower(octave))
    below = octave
  }
  bucket('+Inf', below, Number.POSITIVE_INFINITY, histogram.count)
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
