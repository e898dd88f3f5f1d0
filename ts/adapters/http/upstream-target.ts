/**
 * Forwards a request to an instance by address, over kept-alive connections.
 *
 * Bodies are read whole first (they are bounded): so a request that never reached an instance can go to another.
 */
import { Agent, request as httpRequest, type IncomingMessage } from 'node:http'
import { pipeline } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { Outcome } from '../../binding/contract.js'
import { LinkmeshError } from '../../errors.js'
import type { Mesh, PickOptions, Route } from '../../index.js'
import { readBody } from './body.js'
import type { Exchange } from './exchange.js'
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
const STALL_MS = 30_000

interface Failure {
  error: Error
  /** False when not a byte of the request can have reached the instance. */
  sent: boolean
  timedOut: boolean
}

export class UpstreamClient {
  private readonly agent = new Agent({ keepAlive: true, maxSockets: SOCKETS_PER_ORIGIN, maxFreeSockets: 64 })

  private readonly routes = new Map<string, Route>()

  /** Picks an instance, forwards, streams the reply back. Throws problems and what the mesh throws. */
  async answer(exchange: Exchange, { upstream, qos }: UpstreamRoute): Promise<void> {
    const body = await readBody(exchange.request, exchange.bodyLimit)
    const route = this.routeOf(exchange.mesh, upstream)
    const retriable = IDEMPOTENT.has(exchange.request.method as string)
    const tried = new Set<number>()
    for (let attempt = 1; ; attempt++) {
      const ticket = pickUntried(route, tried, qos === undefined ? undefined : { qos })
      const { address, handle } = route.instance(ticket)
      tried.add(handle)
      if (address === null) {
        route.complete(ticket, Outcome.Cancelled)
        throw new HttpProblem(503, 'LM_NO_INSTANCE', `${upstream} has an instance without an address`)
      }
      const result = await this.forward(exchange, address, body)
      if (!('error' in result)) {
        const status = result.statusCode ?? 502
        if (status === 429 || status === 503) {
          const retryAfterMs = parseRetryAfter(result.headers['retry-after'], Date.now())
          route.complete(ticket, Outcome.Rejected, -1, retryAfterMs === undefined ? {} : { retryAfterMs })
        } else route.complete(ticket, status >= 500 ? Outcome.Error : Outcome.Ok)
        await this.sendBack(exchange, result)
        return
      }
      const gone = exchange.signal().aborted
      const { sent, timedOut, error } = result
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

  private forward(exchange: Exchange, address: string, body: Buffer): Promise<IncomingMessage | Failure> {
    const { request, requestId } = exchange
    const timeoutMs = exchange.remainingMs()
    const origin = new URL(address)
    const headers = endToEndHeaders(request.rawHeaders, OWN_FIELDS)
    headers.push('host', origin.host, 'x-request-id', requestId, 'x-request-timeout-ms', String(timeoutMs))
    headers.push('x-forwarded-for', request.socket.remoteAddress ?? 'unknown', 'x-forwarded-proto', 'http')
    if (request.headers.host !== undefined) headers.push('x-forwarded-host', request.headers.host)
    if (body.length > 0 || !BODILESS.has(request.method as string)) headers.push('content-length', String(body.length))
    return new Promise((resolve) => {
      let timedOut = false
      let connected = false
      const outgoing = httpRequest({
        agent: this.agent,
        host: origin.hostname.replace(/^\[|\]$/g, ''),
        port: origin.port || 80,
        method: request.method as string,
        path: request.url as string,
        headers: headers as unknown as NodeJS.Dict<string[]>,
        signal: exchange.signal(),
      })
      const timer = setTimeout(() => {
        timedOut = true
        outgoing.destroy(new Error('deadline'))
      }, timeoutMs)
      outgoing.on('socket', (socket) => {
        connected = !socket.connecting
        // Only for a new one: on a kept-alive socket the event never comes, and listeners would pile up.
        if (!connected) {
          socket.once('connect', () => {
            connected = true
          })
        }
      })
      outgoing.on('response', (reply) => {
        clearTimeout(timer)
        resolve(reply)
      })
      outgoing.on('error', (error) => {
        clearTimeout(timer)
        resolve({ error, sent: connected, timedOut })
      })
      // The deadline is for the first byte; a body may take longer, but not stand still.
      outgoing.setTimeout(STALL_MS, () => outgoing.destroy(new Error('stalled')))
      outgoing.end(body)
    })
  }

  private sendBack(exchange: Exchange, reply: IncomingMessage): Promise<void> {
    const { response } = exchange
    const fields = endToEndHeaders(reply.rawHeaders, REPLY_OWN_FIELDS)
    // One by one: writeHead with a list would keep only the last of several cookies.
    for (let i = 0; i < fields.length; i += 2) response.appendHeader(fields[i] as string, fields[i + 1] as string)
    response.writeHead(reply.statusCode as number)
    return new Promise((resolve) => {
      // A reply that breaks off leaves the client's socket destroyed: a part is never taken for the whole.
      pipeline(reply, response, () => resolve())
    })
  }
}
const BODILESS = new Set(['GET', 'HEAD', 'OPTIONS', 'DELETE'])
const REPLY_OWN_FIELDS: ReadonlySet<string> = new Set(['x-request-id'])

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
