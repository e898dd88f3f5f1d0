/** Counters, gauges and histograms of this process, shared by all its threads. */
import type { Handle, MetricFormat } from './binding/contract.js'
import { checkMetadata, checkNumber, checkRecord, invalid, shown } from './mesh/checks.js'
import type { Core } from './mesh/core.js'

/** Labels of one series. */
export type Labels = Readonly<Record<string, string>>

/**
 * `prometheus` 0.0.4, `openmetrics` 1.0 with exemplars, `json`, `csv` (RFC 4180, a row a series), `erlang` (terms for
 * `file:consult/1`), `points` (JSON lines with every bucket, for another exporter).
 */
export type MetricsFormat = MetricFormat

/** The request that a value came from: ids as `traceparent` writes them. */
export interface ExemplarIds {
  traceId: string
  spanId: string
}

class Series {
  /** @internal */
  protected readonly core: Core
  protected readonly handle: Handle
  constructor(core: Core, handle: Handle) {
    this.core = core
    this.handle = handle
  }
  protected write(value: number): void {
    const status = this.core.binding.metricRecord(this.core.handle, this.handle, value)
    if (status < 0 && !this.core.closed) throw invalid('value', `a metric takes finite numbers, not ${shown(value)}`)
  }
}

/** Only grows. */
export class Counter extends Series {
  add(value = 1): void {
    this.write(checkNumber(value, 'value', 0, Number.MAX_SAFE_INTEGER))
  }
}

/** Goes up and down. */
export class Gauge extends Series {
  set(value: number): void {
    this.write(value)
  }
}

/** Distribution of values; relative error at most 1.1 %. */
export class Histogram extends Series {
  record(value: number, exemplar?: ExemplarIds): void {
    this.write(checkNumber(value, 'value', 0, Number.MAX_SAFE_INTEGER))
    if (exemplar === undefined || this.core.closed) return
    const { binding, handle } = this.core
    const { traceId, spanId } = checkRecord(exemplar, 'exemplar') as Partial<ExemplarIds>
    this.core.must(
      binding.metricExemplar(handle, this.handle, value, String(traceId), String(spanId), Date.now()),
      'an exemplar',
    )
  }
}

const FORMATS: ReadonlySet<string> = new Set<MetricFormat>([
  'prometheus',
  'openmetrics',
  'json',
  'csv',
  'erlang',
  'points',
])

const DECODER = new TextDecoder()

export class Metrics {
  readonly #core: Core

  /** @internal */
  constructor(core: Core) {
    this.#core = core
  }

  /** The series of that name and these labels: the same one wherever in the process it is asked for. */
  counter(name: string, labels: Labels = {}, help = ''): Counter {
    return new Counter(this.#core, this.#open(0, name, labels, help))
  }

  gauge(name: string, labels: Labels = {}, help = ''): Gauge {
    return new Gauge(this.#core, this.#open(1, name, labels, help))
  }

  histogram(name: string, labels: Labels = {}, help = ''): Histogram {
    return new Histogram(this.#core, this.#open(2, name, labels, help))
  }

  /** Everything there is, the router's own figures included, as text. For an endpoint {@link scrape} is cheaper. */
  async render(format: MetricsFormat = 'prometheus'): Promise<string> {
    return DECODER.decode(await this.scrape(format))
  }

  /**
   * The same as the UTF-8 bytes that go over the wire. With the native backend they are gathered and written on another
   * thread, and this one only gets a reference to them: its event loop is not held, however many series there are.
   */
  async scrape(format: MetricsFormat = 'prometheus'): Promise<Uint8Array> {
    if (!FORMATS.has(format))
      throw invalid('format', `format must be one of ${[...FORMATS].join(', ')}, not ${shown(format)}`)
    return this.#core.binding.metricsRender(this.#core.handle, format)
  }

  #open(kind: 0 | 1 | 2, name: string, labels: Labels, help: string): Handle {
    if (typeof name !== 'string') throw invalid('name', `name must be a string, not ${shown(name)}`)
    if (typeof help !== 'string') throw invalid('help', `help must be a string, not ${shown(help)}`)
    checkMetadata(labels, 'labels')
    const { binding, handle } = this.#core
    return this.#core.must(
      binding.metricOpen(handle, kind, name, JSON.stringify(labels), help),
      `metric ${shown(name)}`,
    )
  }
}
