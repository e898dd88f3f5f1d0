/** A trace goes with its requests to other threads and other nodes, and comes back. */
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base'
import { describe, expect, it } from 'vitest'
import { startWorkers } from '../../ts/adapters/worker.js'
import { Mesh } from '../../ts/index.js'
import { traceMesh } from '../../ts/otel.js'
import { NO_NATIVE } from '../support/native.js'
import { founder, joiner } from '../support/node.js'

const TRACE = '0af7651916cd43dd8448eb211c80319c'
const traceparent = `00-${TRACE}-b7ad6b7169203331-01`

describe.skipIf(NO_NATIVE !== '')(`traces${NO_NATIVE === '' ? '' : ` (skipped: ${NO_NATIVE})`}`, () => {
  it('to a thread without a tracer and back to one with', async () => {
    const memory = new InMemorySpanExporter()
    const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(memory)] })
    const mesh = await Mesh.open({ name: `traced-${process.pid}` })
    traceMesh(mesh, provider.getTracer('test'))
    mesh.service('near', (_, ctx) => ctx.trace)
    const workers = startWorkers(mesh, {
      file: new URL('./fixtures/traced.mjs', import.meta.url),
      count: 1,
      services: 1,
    })
    try {
      await workers.ready
      const said = await mesh.request<{ far: { spanId: string }; near: unknown }>('far', null, {
        metadata: { traceparent },
      })
      // Ended before its caller's: client of far. The server of near has it for its parent, through the thread between.
      const client = memory.getFinishedSpans().find(({ name }) => name === 'far')
      const near = memory.getFinishedSpans().find(({ name }) => name === 'near')
      const ids = client?.spanContext()
      expect(said).toEqual({
        far: { traceId: TRACE, spanId: ids?.spanId, flags: 1 },
        near: { traceId: TRACE, spanId: ids?.spanId, flags: 1 },
      })
      expect(near?.parentSpanContext?.spanId).toBe(ids?.spanId)
    } finally {
      await workers.terminate()
      await mesh.close({ graceMs: 0 })
    }
  })

  it('to another node', async () => {
    const first = await founder([{ name: 'where' }])
    const second = await joiner(first, [])
    try {
      const options = { metadata: { traceparent, tracestate: 'a=1' } }
      expect((await second.node.ask('request', { service: 'where', options })).reply).toEqual({
        traceId: TRACE,
        spanId: 'b7ad6b7169203331',
        flags: 1,
        state: 'a=1',
      })
    } finally {
      await second.node.end('SIGKILL')
      await first.node.end('SIGKILL')
    }
  })
})
