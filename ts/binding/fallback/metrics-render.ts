/** The formats of the contract but the two text ones; the forms are those of `crates/metrics`. */
import type { MetricFormat } from '../contract.js'
import { invalid } from './edge.js'
import { type Family, labelsObject, type MetricSample, QUANTILES, seriesName } from './metrics-collector.js'
import { SCALE } from './metrics-histogram.js'
import { decimal, renderText } from './metrics-text.js'

const RENDERERS: Readonly<Record<MetricFormat, (families: readonly Family[]) => string>> = {
  prometheus: (families) => renderText(families, 'prometheus'),
  openmetrics: (families) => renderText(families, 'openmetrics'),
  json: renderJson,
  csv: renderCsv,
  erlang: renderErlang,
  points: renderPoints,
}

/** What writes a format. Throws when there is none of that name. */
export function rendererOf(format: MetricFormat): (families: readonly Family[]) => string {
  if (!Object.hasOwn(RENDERERS, format))
    throw invalid('format', 'the format is prometheus, openmetrics, json, csv, erlang or points')
  return RENDERERS[format]
}

type Distribution = Extract<MetricSample, { histogram: unknown }>

/** Figures of a histogram in exported units, in the order of every format. */
function figures({ histogram, scale }: Distribution): [string, number][] {
  return [
    ['count', histogram.count],
    ['sum', histogram.sum * scale],
    ['max', histogram.max * scale],
    ...QUANTILES.map(([name, q]): [string, number] => [name, histogram.quantile(q) * scale]),
  ]
}

function renderJson(families: readonly Family[]): string {
  const all = families.map((family) => {
    const series = family.samples.map((sample) => {
      const labels = Object.fromEntries(sample.labels)
      return 'value' in sample ? { labels, value: sample.value } : { labels, ...Object.fromEntries(figures(sample)) }
    })
    return [seriesName(family), { kind: family.kind, help: family.help, series }]
  })
  return JSON.stringify(Object.fromEntries(all))
}

function renderCsv(families: readonly Family[]): string {
  const rows = families.flatMap((family) =>
    family.samples.map((sample) => {
      const labels = JSON.stringify(labelsObject(sample.labels)).replaceAll('"', '""')
      const cells =
        'value' in sample
          ? `${plain(sample.value)},,,,,,,,`
          : `,${figures(sample)
              .map(([, value]) => plain(value))
              .join(',')}`
      return `${seriesName(family)},${family.kind},"${labels}",${cells}`
    }),
  )
  return ['name,kind,labels,value,count,sum,max,p50,p90,p95,p99,p999', ...rows, ''].join('\r\n')
}

/** Without an exponent, whole numbers without a point. */
function plain(value: number): string {
  const text = decimal(value)
  return text.endsWith('.0') ? text.slice(0, -2) : text
}

function renderErlang(families: readonly Family[]): string {
  return families
    .map((family) => {
      const series = family.samples.map((sample) => {
        const labels = sample.labels.map(([name, value]) => `${binary(name)} => ${binary(value)}`).join(', ')
        const values: [string, string][] =
          'value' in sample
            ? [['value', float(sample.value)]]
            : figures(sample).map(([name, value]) => [name, name === 'count' ? String(value) : float(value)])
        return `\n #{labels => #{${labels}}, ${values.map(([name, value]) => `${name} => ${value}`).join(', ')}}`
      })
      const head = `name => ${binary(seriesName(family))}, kind => ${family.kind}, help => ${binary(family.help)}`
      return `#{${head}, series => [${series.join(',')}]}.\n`
    })
    .join('')
}

/** An Erlang float has digits on both sides of the point, also before an exponent. */
function float(value: number): string {
  const [mantissa = '0', exponent = '+0'] = value.toExponential().split('e')
  const whole = mantissa.includes('.') ? mantissa : `${mantissa}.0`
  return exponent === '+0' ? whole : `${whole}e${exponent.replace('+', '')}`
}

/** A UTF-8 binary, written in ASCII. */
function binary(text: string): string {
  let escaped = ''
  for (const character of text) {
    if (character === '\\' || character === '"') escaped += `\\${character}`
    else if (character === '\n') escaped += '\\n'
    else if (character >= ' ' && character <= '~') escaped += character
    else escaped += `\\x{${(character.codePointAt(0) as number).toString(16)}}`
  }
  return `<<"${escaped}"/utf8>>`
}

function renderPoints(families: readonly Family[]): string {
  const lines = families.flatMap((family) => [
    JSON.stringify({ family: family.name, kind: family.kind, help: family.help }),
    ...family.samples.map((sample) => {
      const labels = labelsObject(sample.labels)
      if ('value' in sample) return JSON.stringify({ labels, value: sample.value })
      const { histogram, scale } = sample
      const { count, sum, max, zero } = histogram
      return JSON.stringify({
        labels,
        histogram: {
          // The router records microseconds and exports seconds; everything else is in the unit it is exported in.
          unit: scale === 1e-6 ? 'us' : '',
          count,
          sum,
          max,
          zero,
          scale: SCALE,
          ...histogram.dense(),
          exemplars: histogram.exemplars(),
        },
      })
    }),
  ])
  return lines.map((line) => `${line}\n`).join('')
}
