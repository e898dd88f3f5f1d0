/** Which request a bucket's count came from: the trace to open when a latency looks wrong. */
import { invalid } from './edge.js'

export interface Exemplar {
  /** 32 lower-case hexadecimal digits, not all 0. */
  readonly traceId: string
  /** 16 lower-case hexadecimal digits, not all 0. */
  readonly spanId: string
  /** In the recorded unit. */
  readonly value: number
  /** Milliseconds since 1970. */
  readonly atMs: number
}

const TRACE_ID = /^(?!0{32})[0-9a-f]{32}$/
const SPAN_ID = /^(?!0{16})[0-9a-f]{16}$/

/** The exemplar of a call, checked. */
export function readExemplar(traceId: string, spanId: string, value: number, atMs: number): Exemplar {
  const sensible = (number: number) => Number.isFinite(number) && number >= 0
  if (TRACE_ID.test(traceId) && SPAN_ID.test(spanId) && sensible(value) && sensible(atMs))
    return { traceId, spanId, value, atMs }
  const form = 'a trace id of 32 and a span id of 16 lower-case hexadecimal digits, and a value of at least 0'
  throw invalid('traceId', `an exemplar has ${form}`)
}
