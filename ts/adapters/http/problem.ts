/**
 * Failures as `application/problem+json` (RFC 9457).
 *
 * The table from linkmesh errors to status codes is here and nowhere else. What a handler threw never reaches a
 * client unless the error says so itself by a `status` of 400 to 599.
 */
import { type ServerResponse, STATUS_CODES } from 'node:http'
import { LinkmeshError } from '../../errors.js'
import { retryAfterOf } from '../../mesh/outcomes.js'

export interface ProblemExtras {
  field?: string
  limit?: number
  retryAfterMs?: number
  outcome?: string
  /** Further header fields of the reply: `Allow`. */
  headers?: Record<string, string>
}

/** A refusal that knows its HTTP status. `code` is the stable `LM_…` code, `detail` is for people. */
export class HttpProblem extends Error {
  override readonly name = 'HttpProblem'
  constructor(
    readonly status: number,
    readonly code: string,
    readonly detail: string,
    readonly extras: ProblemExtras = {},
  ) {
    super(detail)
  }
}

/** Status of the errors that the mesh itself raises. */
const STATUS_BY_CODE: Readonly<Record<string, number>> = {
  LM_INVALID_ARGUMENT: 400,
  LM_VALIDATION: 400,
  LM_LIMIT_EXCEEDED: 413,
  LM_RATE_LIMITED: 429,
  LM_NOT_FOUND: 503,
  LM_NO_INSTANCE: 503,
  LM_BREAKER_OPEN: 503,
  LM_SATURATED: 503,
  LM_QUEUE_FULL: 503,
  LM_DRAINING: 503,
  LM_CLOSED: 503,
  LM_DEADLINE_EXCEEDED: 504,
}
/** Statuses whose reply says when to come again. */
const RETRY_STATUSES = new Set([429, 503])
const DEFAULT_RETRY_MS = 1_000

/** Any thrown value as a problem. */
export function toProblem(error: unknown): HttpProblem {
  if (error instanceof HttpProblem) return error
  const own = error as { status?: unknown; data?: { status?: unknown }; message?: unknown; code?: unknown } | null
  const status = own?.status ?? own?.data?.status
  if (typeof status === 'number' && Number.isInteger(status) && status >= 400 && status <= 599) {
    const retryAfterMs = retryAfterOf(error)
    const code = typeof own?.code === 'string' ? own.code : 'LM_REMOTE'
    return new HttpProblem(status, code, String(own?.message ?? ''), retryAfterMs > 0 ? { retryAfterMs } : {})
  }
  if (!(error instanceof LinkmeshError)) return new HttpProblem(500, 'LM_INTERNAL', 'The handler failed')
  if (error.code === 'LM_REMOTE') return new HttpProblem(500, error.code, 'The handler failed')
  const known = STATUS_BY_CODE[error.code]
  // An instance that went away with the request in its hands: a gateway error, and whether it was carried out is said.
  const fallback = error.outcome === 'unknown' || error.outcome === 'not-delivered' ? 502 : 500
  return new HttpProblem(known ?? fallback, error.code, error.message, {
    ...(error.retryAfterMs === undefined ? {} : { retryAfterMs: error.retryAfterMs }),
    ...(error.outcome === undefined ? {} : { outcome: error.outcome }),
    ...(error.field === undefined ? {} : { field: error.field }),
    ...(error.limit === undefined ? {} : { limit: error.limit }),
  })
}

/** Body of the reply, JSON. */
export function problemBody(problem: HttpProblem, requestId: string): string {
  const { headers: _, ...extras } = problem.extras
  return JSON.stringify({
    type: `urn:linkmesh:problem:${problem.code.replace(/^LM_/, '').toLowerCase().replaceAll('_', '-')}`,
    title: STATUS_CODES[problem.status] ?? 'Error',
    status: problem.status,
    detail: problem.detail,
    code: problem.code,
    requestId,
    ...extras,
  })
}

/** Header fields of the reply. `Retry-After` is whole seconds (RFC 9110 §10.2.3), rounded up. */
export function problemHeaders(problem: HttpProblem, body: string): Record<string, string> {
  const headers: Record<string, string> = {
    'content-type': 'application/problem+json',
    'content-length': String(Buffer.byteLength(body)),
    'cache-control': 'no-store',
    ...problem.extras.headers,
  }
  if (RETRY_STATUSES.has(problem.status)) {
    const retryMs = problem.extras.retryAfterMs ?? DEFAULT_RETRY_MS
    headers['retry-after'] = String(Math.max(1, Math.ceil(retryMs / 1_000)))
  }
  return headers
}

/** Answers with a problem, unless the reply has begun: then the socket is closed, so that a half reply is never taken for whole. */
export function sendProblem(response: ServerResponse, problem: HttpProblem, requestId: string): void {
  if (response.headersSent) {
    response.destroy()
    return
  }
  const body = problemBody(problem, requestId)
  response.writeHead(problem.status, problemHeaders(problem, body))
  response.end(response.req.method === 'HEAD' ? undefined : body)
}
