/**
 * Forwards a request to an instance by address, over kept-alive connections.
 *
 * Bodies are read whole first (they are bounded): so a request that never reached an instance can go to another.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { Outcome, type Ticket } from '../../binding/contract.js'
import { LinkmeshError } from '../../errors.js'
import type { Mesh, PickOptions, Route } from '../../index.js'
import { readBody } from './body.js'
import type { Exchange } from './exchange.js'
import { forward } from './forward.js'
import { endToEndHeaders } from './headers.js'
import type { UpstreamRoute } from './options.js'
import { HttpProblem } from './problem.js'
import { parseRetryAfter } from './retry-after.js'
import { UpstreamPools } from './upstream-pools.js'

/** Methods that may be sent twice (RFC 9110 §9.2.2). */
const IDEMPOTENT = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE'])
/** Set by the gateway; a client's own values are not passed on. */
const OWN_FIELDS: ReadonlySet<string> = new Set([
  'host',
  'content-length',
  'x-request-id',
  'x-request-timeout-ms',
  'grpc-timeout',
  'x-forwarded-for',
  'x-forwarded-proto',
  'x-forwarded-host',
  'forwarded',
])
const ATTEMPTS = 3

export class UpstreamClient {
  private readonly pools = new UpstreamPools()
  private readonly routes = new Map<string, Route>()

  /** Picks an instance, forwards, streams the reply back. Throws problems and what the mesh throws. */
  async answer(exchange: Exchange, { upstream, qos }: UpstreamRoute): Promise<void> {
    const body = await readBody(exchange.request, exchange.bodyLimit)
    const route = this.routeOf(exchange.mesh, upstream)
    const retriable = IDEMPOTENT.has(exchange.request.method as string)
    const tried = new Set<number>()
    for (let attempt = 1; ; attempt++) {
      const timeoutMs = exchange.remainingMs()
      const ticket = pickUntried(route, tried, qos === undefined ? undefined : { qos })
      const { address, handle } = route.instance(ticket)
      tried.add(handle)
      if (address === null) {
        route.complete(ticket, Outcome.Cancelled)
        throw new HttpProblem(503, 'LM_NO_INSTANCE', `${upstream} has an instance without an address`)
      }
      const known = this.pools.get(address)
      const pool = known instanceof Promise ? await known : known
      const failure = await forward(exchange, {
        pool,
        headers: headersFor(exchange, pool.authority, body, timeoutMs),
        body,
        timeoutMs,
        onReply: (status, fields) => completeBy(status, fields, route, ticket),
      })
      if (failure === undefined) return
      const { gone } = exchange
      const { sent, timedOut, error } = failure
      route.complete(
        ticket,
        gone ? Outcome.Cancelled : timedOut ? Outcome.Timeout : sent ? Outcome.Unknown : Outcome.Unreachable,
      )
      if (timedOut)
        throw new HttpProblem(504, 'LM_DEADLINE_EXCEEDED', `${upstream} did not answer in time`, { outcome: 'unknown' })
      if (gone || attempt >= ATTEMPTS || (sent && !retriable)) throw unreachable(upstream, sent, error)
      // What reached nobody adds no load anywhere; what may have been worked on is repeated within the budget only.
      const backoffMs = sent ? route.retry(attempt) : 0
      if (backoffMs < 0) throw unreachable(upstream, sent, error)
      if (backoffMs > 0) await delay(backoffMs)
    }
  }

  /** One route per upstream: it remembers what is known of the instances. */
  private routeOf(mesh: Mesh, upstream: string): Route {
    let route = this.routes.get(upstream)
    if (!route) {
      route = mesh.route(upstream)
      this.routes.set(upstream, route)
    }
    return route
  }

  close(): void {
    this.pools.close()
  }
}

function headersFor(exchange: Exchange, authority: string, body: Buffer, timeoutMs: number): string[] {
  const { request, requestId } = exchange
  const headers = endToEndHeaders(request.rawHeaders, OWN_FIELDS)
  headers.push('host', authority, 'x-request-id', requestId, 'x-request-timeout-ms', String(timeoutMs))
  headers.push('x-forwarded-for', request.socket.remoteAddress ?? 'unknown', 'x-forwarded-proto', 'http')
  if (request.headers.host !== undefined) headers.push('x-forwarded-host', request.headers.host)
  if (body.length > 0 || !BODILESS.has(request.method as string)) headers.push('content-length', String(body.length))
  return headers
}
const BODILESS = new Set(['GET', 'HEAD', 'OPTIONS', 'DELETE'])

/** What a reply says about the instance that it comes from. */
function completeBy(status: number, fields: readonly string[], route: Route, ticket: Ticket): void {
  if (status === 429 || status === 503) {
    const retryAfterMs = parseRetryAfter(retryAfterOf(fields), Date.now())
    route.complete(ticket, Outcome.Rejected, -1, retryAfterMs === undefined ? {} : { retryAfterMs })
  } else route.complete(ticket, status >= 500 ? Outcome.Error : Outcome.Ok)
}

function retryAfterOf(fields: readonly string[]): string | undefined {
  const at = fields.findIndex((name, index) => index % 2 === 0 && name.toLowerCase() === 'retry-after')
  return at < 0 ? undefined : fields[at + 1]
}

/**
 * Picks an instance that this request has not tried yet, as far as there is one. The tickets of the others stay open
 * meanwhile: their load is what makes the balancer look elsewhere. Given back, they say nothing about the instance.
 */
function pickUntried(route: Route, tried: ReadonlySet<number>, options: PickOptions | undefined): number {
  const passedOver: number[] = []
  try {
    for (;;) {
      const ticket = route.pick(undefined, options)
      if (!tried.has(route.instance(ticket).handle) || passedOver.length >= REPICKS) return ticket
      passedOver.push(ticket)
    }
  } finally {
    for (const ticket of passedOver) route.complete(ticket, Outcome.Cancelled)
  }
}
const REPICKS = 8

function unreachable(upstream: string, sent: boolean, cause: Error): LinkmeshError {
  const what = sent ? 'broke off before it answered' : 'could not be reached'
  return new LinkmeshError(sent ? 'LM_THREAD_ENDED' : 'LM_NO_INSTANCE', `${upstream} ${what}`, {
    outcome: sent ? 'unknown' : 'not-delivered',
    cause,
  })
}
