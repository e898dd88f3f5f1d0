/**
 * Where a request stands in a distributed trace: W3C Trace Context, carried in the metadata of a request as in the
 * headers of HTTP. Without a tracer it is handed on as it came; with one ({@link Tracing}) each hop gets a span.
 */
import type { Context } from './context.js'

/** Names of the metadata entries, the same as of the headers. */
export const TRACEPARENT = 'traceparent'
export const TRACESTATE = 'tracestate'
/** Longest state that is handed on; the standard lets longer ones be dropped. */
const MAX_STATE = 512

/** Ids of a span, ours or somebody else's. */
export interface TraceContext {
  /** 32 lower-case hexadecimal digits. */
  readonly traceId: string
  /** 16 lower-case hexadecimal digits. */
  readonly spanId: string
  /** Bit 0: the caller records this trace. */
  readonly flags: number
  readonly state?: string
}

/** What starts and ends spans. `linkmesh/otel` makes one of a tracer of OpenTelemetry. */
export interface Tracing {
  /** A request is about to be sent. `parent`: the handler on whose behalf, if any. */
  request(
    service: string,
    metadata: Readonly<Record<string, string>> | undefined,
    parent: Context | undefined,
  ): RequestSpan
  /** Runs a handler within a span. Returns what it returns, and throws what it throws. */
  handle(context: Context, run: () => unknown): unknown
}

/** The span of one request, all of its attempts included. */
export interface RequestSpan {
  readonly context: TraceContext
  /** It was sent to a second instance, too; `won`: that one answered first. */
  hedged?(won: boolean): void
  /** Undefined error: it went well. */
  end(error: unknown, attempts: number): void
}

const FORM = /^([0-9a-f]{2})-((?!0{32})[0-9a-f]{32})-((?!0{16})[0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/

/** Reads the two entries (W3C Trace Context §3.2.2, §3.3.1); undefined when they are not there or not valid. */
export function readTrace(entries: Readonly<Record<string, unknown>>): TraceContext | undefined {
  const { [TRACEPARENT]: parent, [TRACESTATE]: state } = entries
  if (typeof parent !== 'string') return undefined
  const [, version, traceId, spanId, flags, more] = FORM.exec(parent) ?? []
  // Version ff is none, 00 ends here, and a later one may go on.
  if (traceId === undefined || spanId === undefined || version === 'ff' || (version === '00' && more !== undefined))
    return undefined
  const known = typeof state === 'string' && state !== '' && state.length <= MAX_STATE
  return { traceId, spanId, flags: Number.parseInt(flags as string, 16), ...(known ? { state } : {}) }
}

/** The entries that say it, over other metadata. */
export function withTrace(
  metadata: Readonly<Record<string, string>> | undefined,
  { traceId, spanId, flags, state }: TraceContext,
): Record<string, string> {
  const { [TRACESTATE]: _, ...others } = metadata ?? {}
  return {
    ...others,
    [TRACEPARENT]: `00-${traceId}-${spanId}-${flags.toString(16).padStart(2, '0')}`,
    ...(state === undefined ? {} : { [TRACESTATE]: state }),
  }
}

/** Metadata of a request on behalf of another: its own, and the other's place in the trace unless it has one. */
export function inheritTrace(
  own: Readonly<Record<string, string>> | undefined,
  parent: Readonly<Record<string, string>>,
): Readonly<Record<string, string>> | undefined {
  const { [TRACEPARENT]: traceparent, [TRACESTATE]: tracestate } = parent
  if (traceparent === undefined || own?.[TRACEPARENT] !== undefined) return own
  return { ...own, [TRACEPARENT]: traceparent, ...(tracestate === undefined ? {} : { [TRACESTATE]: tracestate }) }
}
