/** Spans by a tracer of OpenTelemetry. */
import {
  type Context as ActiveContext,
  context as active,
  createTraceState,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  type Tracer,
  trace,
} from '@opentelemetry/api'
import type { Context, Mesh, RequestSpan, TraceContext, Tracing } from '../index.js'
import { readTrace } from '../mesh/trace.js'

/**
 * A `CLIENT` span for each request of this thread and a `SERVER` span for each handler that runs in it, joined to the
 * trace that came along, across threads, nodes and the gateway. Within a handler its span is the active one where a context
 * manager is registered (`@opentelemetry/context-async-hooks`); `ctx.request` finds it also without. Returns the function
 * that stops it.
 *
 * A stream's server span ends when the handler has returned the iterable, its client span when the last item came.
 */
export function traceMesh(mesh: Mesh, tracer: Tracer): () => void {
  mesh.useTracing(new OtelTracing(tracer))
  return () => mesh.useTracing(undefined)
}

class OtelTracing implements Tracing {
  readonly #tracer: Tracer
  /** Of handlers at work: the context in which they run. */
  readonly #contexts = new WeakMap<Context, ActiveContext>()

  constructor(tracer: Tracer) {
    this.#tracer = tracer
  }

  request(
    service: string,
    metadata: Readonly<Record<string, string>> | undefined,
    parent: Context | undefined,
  ): RequestSpan {
    const span = this.#tracer.startSpan(
      service,
      { kind: SpanKind.CLIENT, attributes: { 'rpc.system': 'linkmesh', 'rpc.service': service } },
      this.#parentOf(metadata, parent),
    )
    const { traceId, spanId, traceFlags, traceState } = span.spanContext()
    const state = traceState?.serialize()
    return {
      context: { traceId, spanId, flags: traceFlags, ...(state === undefined || state === '' ? {} : { state }) },
      hedged: (won) => {
        span.setAttribute('linkmesh.hedge', won ? 'won' : 'sent')
      },
      end: (error, attempts) => {
        if (attempts > 1) span.setAttribute('linkmesh.attempts', attempts)
        end(span, error)
      },
    }
  }

  handle(context: Context, run: () => unknown): unknown {
    const { trace: remote } = context
    const parent = remote === undefined ? active.active() : joined(remote)
    const attributes = { 'rpc.system': 'linkmesh', 'rpc.service': context.service, 'linkmesh.attempt': context.attempt }
    const span = this.#tracer.startSpan(context.service, { kind: SpanKind.SERVER, attributes }, parent)
    const within = trace.setSpan(parent, span)
    this.#contexts.set(context, within)
    let result: unknown
    try {
      result = active.with(within, run)
    } catch (error) {
      end(span, error ?? new Error('undefined was thrown'))
      throw error
    }
    if (!(result instanceof Promise)) {
      end(span, undefined)
      return result
    }
    return result.then(
      (value: unknown) => {
        end(span, undefined)
        return value
      },
      (error: unknown) => {
        end(span, error ?? new Error('undefined was thrown'))
        throw error
      },
    )
  }

  /** The handler's span, else the active one, else what the caller wrote into the metadata: a gateway does that. */
  #parentOf(metadata: Readonly<Record<string, string>> | undefined, parent: Context | undefined): ActiveContext {
    const own = parent === undefined ? undefined : this.#contexts.get(parent)
    const current = active.active()
    // What the handler started itself around the request is nearer than the handler's own span.
    if (trace.getSpan(current) !== undefined) return current
    if (own !== undefined) return own
    const remote = metadata === undefined ? undefined : readTrace(metadata)
    return remote === undefined ? current : joined(remote)
  }
}

/** A context whose span is somebody else's. */
function joined({ traceId, spanId, flags, state }: TraceContext): ActiveContext {
  return trace.setSpanContext(ROOT_CONTEXT, {
    traceId,
    spanId,
    traceFlags: flags,
    isRemote: true,
    ...(state === undefined ? {} : { traceState: createTraceState(state) }),
  })
}

function end(span: Span, error: unknown): void {
  if (error !== undefined) {
    const { code, message } = error as { code?: unknown; message?: unknown }
    span.recordException(error instanceof Error ? error : String(error))
    span.setStatus({ code: SpanStatusCode.ERROR, message: String(message ?? error) })
    if (code !== undefined) span.setAttribute('error.type', String(code))
  }
  span.end()
}
