/**
 * Forwards a request to an instance by address, over kept-alive connections.
 *
 * Bodies are read whole first (they are bounded): so a request that never reached an instance can go to another.
 */
import { Agent, type IncomingMessage } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { Outcome, type Ticket } from '../../binding/contract.js'
import { LinkmeshError } from '../../errors.js'
import type { Mesh, PickOptions, Route } from '../../index.js'
import { readBody } from './body.js'
import type { Exchange } from './exchange.js'
import { forward, type Origin, originOf } from './forward.js'
import { endToEndHeaders } from './headers.js'
import type { UpstreamRoute } from './options.js'
import { HttpProblem } from './problem.js'
import { parseRetryAfter } from './retry-after.js'

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
const SOCKETS_PER_ORIGIN = 256
/** Addresses whose parts are remembered. */
const ORIGINS_MAX = 4_096

export class UpstreamClient {
  private readonly agent = new Agent({ keepAlive: true, maxSockets: SOCKETS_PER_ORIGIN, maxFreeSockets: 64 })
  private readonly routes = new Map<string, Route>()
  private readonly origins = new Map<string, Origin>()

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
      const origin = this.originOf(address)
      const failure = await forward(exchange, {
        agent: this.agent,
        origin,
        headers: headersFor(exchange, origin, body, timeoutMs),
        body,
        timeoutMs,
        onReply: (reply) => completeBy(reply, route, ticket),
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
    this.agent.destroy()
  }

  private originOf(address: string): Origin {
    let origin = this.origins.get(address)
    if (!origin) {
      // Instances come and go; what is known of those that went is dropped now and then.
      if (this.origins.size >= ORIGINS_MAX) this.origins.clear()
      origin = originOf(address)
      this.origins.set(address, origin)
    }
    return origin
  }
}

function headersFor(exchange: Exchange, origin: Origin, body: Buffer, timeoutMs: number): string[] {
  const { request, requestId } = exchange
  const headers = endToEndHeaders(request.rawHeaders, OWN_FIELDS)
  headers.push('host', origin.authority, 'x-request-id', requestId, 'x-request-timeout-ms', String(timeoutMs))
  headers.push('x-forwarded-for', request.socket.remoteAddress ?? 'unknown', 'x-forwarded-proto', 'http')
  if (request.headers.host !== undefined) headers.push('x-forwarded-host', request.headers.host)
  if (body.length > 0 || !BODILESS.has(request.method as string)) headers.push('content-length', String(body.length))
  return headers
}
const BODILESS = new Set(['GET', 'HEAD', 'OPTIONS', 'DELETE'])

/** What a reply says about the instance that it comes from. */
function completeBy(reply: IncomingMessage, route: Route, ticket: Ticket): void {
  const status = reply.statusCode ?? 502
  if (status === 429 || status === 503) {
    const retryAfterMs = parseRetryAfter(reply.headers['retry-after'], Date.now())
    route.complete(ticket, Outcome.Rejected, -1, retryAfterMs === undefined ? {} : { retryAfterMs })
  } else route.complete(ticket, status >= 500 ? Outcome.Error : Outcome.Ok)
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
