/** Where a request stands in a trace: handed on without a tracer, spans with one, over HTTP and in OTLP. */
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { context, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-http'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http'
import { resourceFromAttributes } from '@opentelemetry/resources'
import { MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics'
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base'
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import { startGateway } from '../../ts/adapters/http.js'
import type { Context, Mesh, TraceContext } from '../../ts/index.js'
import { readTrace } from '../../ts/mesh/trace.js'
import { MeshMetricProducer, traceMesh } from '../../ts/otel.js'
import { describe } from '../support/backend.js'
import { opened } from '../support/mesh.js'

const TRACE = '0af7651916cd43dd8448eb211c80319c'
const SPAN = 'b7ad6b7169203331'
const TRACEPARENT = `00-${TRACE}-${SPAN}-01`

it.each([
  ['00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', 1],
  ['00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00', 0],
  ['cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03-what-comes-later', 3],
])('reads %s', (traceparent, flags) => {
  expect(readTrace({ traceparent })).toEqual({ traceId: TRACE, spanId: SPAN, flags })
})

it.each([
  '',
  'ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
  '00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01',
  '00-00000000000000000000000000000000-b7ad6b7169203331-01',
  '00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01',
  '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more',
  '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01, 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
])('takes no notice of %j', (traceparent) => {
  expect(readTrace({ traceparent })).toBeUndefined()
})

describe('without a tracer', () => {
  let mesh: Mesh
  let seen: (TraceContext | undefined)[]
  beforeEach(async () => {
    mesh = await opened()
    seen = []
    mesh.service('inner', (_, ctx) => void seen.push(ctx.trace))
    mesh.service('outer', (_, ctx) => {
      seen.push(ctx.trace)
      return ctx.request('inner', null, { metadata: { tenant: 'a' } })
    })
  })

  it('a trace is handed on as it came', async () => {
    await mesh.request('outer', null, { metadata: { traceparent: TRACEPARENT, tracestate: 'a=1' } })
    const expected = { traceId: TRACE, spanId: SPAN, flags: 1, state: 'a=1' }
    expect(seen).toEqual([expected, expected])
    await mesh.request('outer')
    expect(seen.slice(2)).toEqual([undefined, undefined])
  })

  it('the gateway takes it from the headers, and no notice of a bad one', async () => {
    const gateway = await startGateway({ mesh, port: 0, routes: { 'GET /outer': 'outer' } })
    try {
      await fetch(`${gateway.url}/outer`, { headers: { traceparent: TRACEPARENT } })
      expect(seen[1]).toEqual({ traceId: TRACE, spanId: SPAN, flags: 1 })
      expect((await fetch(`${gateway.url}/outer`, { headers: { traceparent: 'nonsense' } })).ok).toBe(true)
      expect(seen[2]).toBeUndefined()
    } finally {
      await gateway.close(0)
    }
  })
})

describe('with a tracer', () => {
  const memory = new InMemorySpanExporter()
  const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(memory)] })
  const tracer = provider.getTracer('test')
  let mesh: Mesh
  beforeAll(() => context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable()))
  afterAll(() => context.disable())
  beforeEach(async () => {
    memory.reset()
    mesh = await opened()
    traceMesh(mesh, tracer)
  })

  const spans = (): ReadableSpan[] => memory.getFinishedSpans()
  const span = (name: string, kind: SpanKind): ReadableSpan => {
    const found = spans().filter((one) => one.name === name && one.kind === kind)
    expect(
      found,
      spans()
        .map((one) => one.name)
        .join(),
    ).toHaveLength(1)
    return found[0] as ReadableSpan
  }
  const parentOf = (one: ReadableSpan) => one.parentSpanContext?.spanId

  it('each hop has a client and a server span, one below the other', async () => {
    mesh.service('inner', async () => 'answer')
    mesh.service('outer', (_, ctx) => ctx.request('inner'))
    expect(await mesh.request('outer')).toBe('answer')
    const chain = [
      span('outer', SpanKind.CLIENT),
      span('outer', SpanKind.SERVER),
      span('inner', SpanKind.CLIENT),
      span('inner', SpanKind.SERVER),
    ]
    expect(new Set(chain.map((one) => one.spanContext().traceId)).size).toBe(1)
    expect(chain.map(parentOf)).toEqual([undefined, ...chain.slice(0, 3).map((one) => one.spanContext().spanId)])
  })

  it('what a handler starts itself lies within its span', async () => {
    mesh.service('outer', async () => {
      await Promise.resolve()
      tracer.startSpan('own work').end()
    })
    await mesh.request('outer')
    expect(parentOf(span('own work', SpanKind.INTERNAL))).toBe(span('outer', SpanKind.SERVER).spanContext().spanId)
  })

  it('joins the trace of the caller, through the gateway, too', async () => {
    mesh.service('outer', () => null)
    const gateway = await startGateway({ mesh, port: 0, routes: { 'GET /outer': 'outer' } })
    try {
      await fetch(`${gateway.url}/outer`, { headers: { traceparent: TRACEPARENT, tracestate: 'vendor=x' } })
    } finally {
      await gateway.close(0)
    }
    const client = span('outer', SpanKind.CLIENT)
    expect([client.spanContext().traceId, parentOf(client)]).toEqual([TRACE, SPAN])
    expect(span('outer', SpanKind.SERVER).spanContext().traceState?.serialize()).toBe('vendor=x')
  })

  it('a failure is on both spans, retries are counted', async () => {
    let calls = 0
    mesh.service(
      'flaky',
      async () => {
        if (++calls < 3) throw Object.assign(new Error('not yet'), { code: 'E_EARLY' })
      },
      { idempotent: true, policy: { retry: { minBackoffMs: 1, maxBackoffMs: 2 } } },
    )
    await mesh.request('flaky')
    expect(span('flaky', SpanKind.CLIENT).attributes['linkmesh.attempts']).toBe(3)
    const served = spans().filter((one) => one.kind === SpanKind.SERVER)
    expect(served.map((one) => one.status.code)).toEqual([SpanStatusCode.ERROR, SpanStatusCode.ERROR, 0])
    expect(served.map((one) => one.attributes['linkmesh.attempt'])).toEqual([1, 2, 3])
    memory.reset()
    mesh.service('broken', () => {
      throw Object.assign(new Error('no'), { code: 'E_NO' })
    })
    await expect(mesh.request('broken')).rejects.toThrow('no')
    expect(span('broken', SpanKind.CLIENT)).toMatchObject({
      status: { code: SpanStatusCode.ERROR, message: 'no' },
      attributes: { 'error.type': 'E_NO' },
    })
  })

  it('the span of a stream ends with its last item', async () => {
    mesh.service('count', async function* () {
      yield 1
      yield 2
    })
    for await (const item of mesh.stream('count'))
      if (item === 1) expect(spans().filter((one) => one.kind === SpanKind.CLIENT)).toEqual([])
    span('count', SpanKind.CLIENT)
  })

  it('a recorded request is the exemplar of its latency', async () => {
    mesh.service('outer', () => null)
    await mesh.request('outer')
    const { traceId, spanId } = span('outer', SpanKind.CLIENT).spanContext()
    expect(await mesh.metrics.render('openmetrics')).toMatch(
      new RegExp(`service="outer",le="[^"]+"\\} 1\\.0 # \\{trace_id="${traceId}",span_id="${spanId}"\\} 0\\.0`),
    )
  })

  it('stops when it is told to', async () => {
    mesh.service('outer', (_, ctx: Context) => ctx.trace ?? null)
    mesh.useTracing(undefined)
    expect(await mesh.request('outer')).toBeNull()
    expect(spans()).toEqual([])
  })
})

describe('OTLP over HTTP', () => {
  let server: Server
  let url: string
  const received = new Map<string, unknown[]>()
  beforeAll(async () => {
    server = createServer((request, response) => {
      const parts: Buffer[] = []
      request.on('data', (part: Buffer) => parts.push(part))
      request.on('end', () => {
        const path = request.url as string
        received.set(path, [...(received.get(path) ?? []), JSON.parse(Buffer.concat(parts).toString())])
        response.writeHead(200, { 'content-type': 'application/json' }).end('{}')
      })
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  })
  afterEach(() => received.clear())
  afterAll(() => server.close())

  it('metrics arrive with every bucket of their histograms', async () => {
    const mesh = await opened()
    mesh.service('outer', () => null)
    for (let n = 0; n < 20; n++) await mesh.request('outer')
    const sizes = mesh.metrics.histogram('size_bytes', { kind: 'b' }, 'Sizes')
    for (const value of [0, 1, 3, 1_000]) sizes.record(value)
    mesh.metrics.counter('jobs_total').add(2)
    const meters = new MeterProvider({
      resource: resourceFromAttributes({ 'service.name': 'shop' }),
      readers: [
        new PeriodicExportingMetricReader({
          exporter: new OTLPMetricExporter({ url: `${url}/v1/metrics` }),
          exportIntervalMillis: 3_600_000,
          metricProducers: [new MeshMetricProducer(mesh)],
        }),
      ],
    })
    await meters.forceFlush()
    await meters.shutdown()
    const [sent] = received.get('/v1/metrics') as { resourceMetrics: OtlpResource[] }[]
    const [resource] = (sent as { resourceMetrics: OtlpResource[] }).resourceMetrics
    expect(JSON.stringify(resource?.resource)).toContain('"shop"')
    const metrics = resource?.scopeMetrics.find(({ scope }) => scope.name === 'linkmesh')?.metrics ?? []
    const named = (name: string) => metrics.find((metric) => metric.name === name)
    const [size] = named('size_bytes')?.exponentialHistogram?.dataPoints ?? []
    expect(size).toMatchObject({ scale: 5, zeroCount: 1, sum: 1_004, max: 1_000 })
    expect(Number(size?.count)).toBe(4)
    // 1 and 3 and 1,000: bucket 0, and those below them by 32 an octave.
    const counts = size?.positive.bucketCounts.map(Number) ?? []
    const hit = counts.flatMap((count, at) => (count > 0 ? [at + (size?.positive.offset ?? 0)] : []))
    expect(hit).toEqual([0, Math.floor(32 * Math.log2(3)), Math.floor(32 * Math.log2(1_000))])
    const duration = named('linkmesh_request_duration')
    expect(duration?.unit).toBe('us')
    expect(Number(duration?.exponentialHistogram?.dataPoints[0]?.count)).toBe(20)
    expect(named('jobs')?.sum).toMatchObject({ isMonotonic: true, dataPoints: [{ asDouble: 2 }] })
  })

  it('spans arrive with the ids that went over the wire', async () => {
    const mesh = await opened()
    const provider = new BasicTracerProvider({
      spanProcessors: [new SimpleSpanProcessor(new OTLPTraceExporter({ url: `${url}/v1/traces` }))],
    })
    traceMesh(mesh, provider.getTracer('test'))
    mesh.service('outer', (_, ctx) => ctx.trace ?? null)
    const told = (await mesh.request('outer', null, { metadata: { traceparent: TRACEPARENT } })) as TraceContext
    await provider.forceFlush()
    await provider.shutdown()
    const text = JSON.stringify(received.get('/v1/traces'))
    expect(told.traceId).toBe(TRACE)
    for (const id of [TRACE, SPAN, told.spanId]) expect(text).toContain(id)
    expect(trace.getActiveSpan()).toBeUndefined()
  })
})

interface OtlpResource {
  resource: unknown
  scopeMetrics: {
    scope: { name: string }
    metrics: {
      name: string
      unit: string
      sum?: { isMonotonic: boolean; dataPoints: unknown[] }
      exponentialHistogram?: {
        dataPoints: {
          count: unknown
          sum: number
          max: number
          scale: number
          zeroCount: number
          positive: { offset: number; bucketCounts: unknown[] }
        }[]
      }
    }[]
  }[]
}
