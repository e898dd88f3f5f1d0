/** The mesh's metrics for a metric reader of OpenTelemetry, every bucket of its exponential histograms kept. */
import { type HrTime, ValueType } from '@opentelemetry/api'
import { resourceFromAttributes } from '@opentelemetry/resources'
import {
  AggregationTemporality,
  type CollectionResult,
  type DataPoint,
  DataPointType,
  type ExponentialHistogram,
  type MetricData,
  type MetricProducer,
} from '@opentelemetry/sdk-metrics'
import type { Mesh } from '../index.js'

/** Longest time that this thread is held at once, milliseconds. */
const SLICE_MS = 0.5
/** Lines between two looks at the clock. */
const LOOK = 16

/** A line of `metrics.scrape('points')`. */
type Line =
  | { family: string; kind: 'counter' | 'gauge' | 'histogram'; help: string }
  | { labels: Record<string, string>; value: number }
  | { labels: Record<string, string>; histogram: Distribution }

interface Distribution {
  unit: string
  count: number
  sum: number
  max: number
  zero: number
  scale: number
  offset: number
  counts: number[]
}

/**
 * Give it to a reader: `new PeriodicExportingMetricReader({ exporter, metricProducers: [new MeshMetricProducer(mesh)] })`.
 *
 * Values are cumulative since the mesh was opened. Latencies are in microseconds, as they were recorded: seconds would
 * move the edges of the buckets. All threads of a process share one set of metrics, so one reader is enough, and it may be in
 * a worker of its own that attached to the mesh.
 */
export class MeshMetricProducer implements MetricProducer {
  readonly #mesh: Mesh
  readonly #start: HrTime

  constructor(mesh: Mesh) {
    this.#mesh = mesh
    this.#start = hrTime(Date.now() - mesh.now() / 1_000)
  }

  async collect(): Promise<CollectionResult> {
    const bytes = await this.#mesh.metrics.scrape('points')
    const points = new Points(this.#start, hrTime(Date.now()))
    for await (const line of linesOf(bytes)) points.take(line)
    const scope = { name: 'linkmesh' }
    // The reader puts its own resource over this one.
    const resource = resourceFromAttributes({})
    return { resourceMetrics: { resource, scopeMetrics: [{ scope, metrics: points.metrics }] }, errors: [] }
  }
}

/** Parsed a slice at a time: ten thousand series at once would hold the event loop. */
async function* linesOf(bytes: Uint8Array): AsyncGenerator<Line, void, undefined> {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let sinceMs = performance.now()
  let count = 0
  for (let from = 0; from < text.length; ) {
    const end = text.indexOf(0x0a, from)
    const to = end < 0 ? text.length : end
    yield JSON.parse(text.toString('utf8', from, to)) as Line
    from = to + 1
    if (++count % LOOK === 0 && performance.now() - sinceMs > SLICE_MS) {
      await new Promise((resolve) => setImmediate(resolve))
      sinceMs = performance.now()
    }
  }
}

class Points {
  readonly metrics: MetricData[] = []
  readonly #startTime: HrTime
  readonly #endTime: HrTime
  #family: { name: string; kind: 'counter' | 'gauge' | 'histogram'; help: string } | undefined
  #numbers: DataPoint<number>[] = []
  #histograms: DataPoint<ExponentialHistogram>[] = []

  constructor(startTime: HrTime, endTime: HrTime) {
    this.#startTime = startTime
    this.#endTime = endTime
  }

  take(line: Line): void {
    if ('family' in line) {
      this.#family = { name: line.family, kind: line.kind, help: line.help }
      return
    }
    const times = { startTime: this.#startTime, endTime: this.#endTime }
    if ('value' in line) {
      if (this.#begin('') === 'new') this.#numbers = this.metrics.at(-1)?.dataPoints as DataPoint<number>[]
      this.#numbers.push({ ...times, attributes: line.labels, value: line.value })
      return
    }
    const { unit, count, sum, max, zero, scale, offset, counts } = line.histogram
    if (this.#begin(unit) === 'new')
      this.#histograms = this.metrics.at(-1)?.dataPoints as DataPoint<ExponentialHistogram>[]
    const value: ExponentialHistogram = {
      count,
      sum,
      scale,
      zeroCount: zero,
      positive: { offset, bucketCounts: counts },
      negative: { offset: 0, bucketCounts: [] },
      ...(count > 0 ? { max } : {}),
    }
    this.#histograms.push({ ...times, attributes: line.labels, value })
  }

  /** The family's metric, when this is its first series. */
  #begin(unit: string): 'new' | 'known' {
    const family = this.#family
    if (family === undefined) return 'known'
    this.#family = undefined
    const { kind, help } = family
    // The unit has a field of its own there, and is not the name's.
    const name = unit === 'us' ? family.name.replace(/_seconds$/, '') : family.name
    const descriptor = { name, description: help, unit, valueType: ValueType.DOUBLE }
    const aggregationTemporality = AggregationTemporality.CUMULATIVE
    if (kind === 'histogram')
      this.metrics.push({
        descriptor,
        aggregationTemporality,
        dataPointType: DataPointType.EXPONENTIAL_HISTOGRAM,
        dataPoints: [],
      })
    else if (kind === 'counter')
      this.metrics.push({
        descriptor,
        aggregationTemporality,
        dataPointType: DataPointType.SUM,
        isMonotonic: true,
        dataPoints: [],
      })
    else this.metrics.push({ descriptor, aggregationTemporality, dataPointType: DataPointType.GAUGE, dataPoints: [] })
    return 'new'
  }
}

function hrTime(milliseconds: number): HrTime {
  const seconds = Math.floor(milliseconds / 1_000)
  return [seconds, Math.round((milliseconds - seconds * 1_000) * 1e6)]
}
