/** The HTTP server: limits on connections and time, one exchange per request, and a drain that loses nothing. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { Server as NetServer } from 'node:net'
import { LinkmeshError } from '../../errors.js'
import { refuseBrokenRequest } from './broken-request.js'
import { ENDPOINTS, type EndpointState } from './endpoints.js'
import { Exchange } from './exchange.js'
import { checkFraming, requestIdOf, timeoutOf } from './headers.js'
import { KeysInFlight } from './idempotency.js'
import { GATEWAY_LIMITS, type GatewayLimits, type GatewayOptions, type GatewayRoute } from './options.js'
import { HttpProblem, sendProblem, toProblem } from './problem.js'
import { parseRouteKey } from './route-key.js'
import { RouteTable } from './route-table.js'
import { answerByService } from './service-target.js'
import { parseTarget } from './target.js'
import { UpstreamClient } from './upstream-target.js'

const DEFAULT_TIMEOUT_MS = 5_000
const DEFAULT_GRACE_MS = 10_000
/** Kept-alive connections without a request get this long, during a drain, to send the one that may be under way. */
const IDLE_GRACE_MS = 250

/** What may change while a gateway is open; what is left out has its default again. */
export interface GatewayChange {
  routes: GatewayOptions['routes']
  timeoutMs?: number | undefined
  limits?: GatewayOptions['limits'] | undefined
}

/** An HTTP gateway in front of a mesh. Made by {@link startGateway}. */
export class Gateway {
  private readonly server: Server
  private routing: Routing
  private limits: GatewayLimits
  private timeoutMs: number
  private readonly upstreams = new UpstreamClient()
  private readonly keys = new KeysInFlight()
  private readonly socketsByClient = new Map<string, number>()
  private readonly busy = new Map<Socket, number>()
  private readonly sockets = new Set<Socket>()
  private readonly state: EndpointState = { draining: false, inFlight: 0, startedAt: performance.now() }
  private closing: Promise<void> | undefined
  private address = ''
  private onIdle: (() => void) | undefined

  constructor(private readonly options: GatewayOptions) {
    this.limits = { ...GATEWAY_LIMITS, ...withoutUndefined(options.limits) }
    this.timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS
    this.routing = routingOf(options.routes)
    const { headersTimeoutMs, requestTimeoutMs, keepAliveTimeoutMs, headerBytes } = this.limits
    this.server = createServer({
      maxHeaderSize: headerBytes,
      headersTimeout: Math.min(headersTimeoutMs, requestTimeoutMs),
      requestTimeout: requestTimeoutMs,
      keepAliveTimeout: keepAliveTimeoutMs,
      // How often slow senders are looked for: often enough that the limits above hold within a quarter.
      connectionsCheckingInterval: Math.max(50, Math.min(headersTimeoutMs, requestTimeoutMs) >> 2),
      insecureHTTPParser: false,
      // Ours to check: Node's own refusal has no body.
      requireHostHeader: false,
    })
    // Node would silently drop header fields above a count; the byte limit already bounds them.
    this.server.maxHeadersCount = 0
    this.limitServer()
    this.server.on('connection', (socket) => this.admit(socket))
    this.server.on('request', (request, response) => void this.handle(request, response))
    this.server.on('checkContinue', (request, response) => void this.handle(request, response))
    this.server.on('checkExpectation', (request, response) => {
      sendProblem(
        response,
        new HttpProblem(417, 'LM_INVALID_ARGUMENT', 'Only 100-continue', { field: 'expect' }),
        requestIdOf(request),
      )
    })
    this.server.on('clientError', refuseBrokenRequest)
  }

  /** Where it listens, `http://127.0.0.1:8080`; '' before it does. */
  get url(): string {
    return this.address
  }

  /** Requests being answered now. */
  get inFlight(): number {
    return this.state.inFlight
  }

  get draining(): boolean {
    return this.state.draining
  }

  /**
   * Other routes, deadline and limits from the next request on: by one swap, so no request sees half of it. Throws and
   * changes nothing when a route is wrong. `headerBytes` stays what it was: Node takes it when the server is made.
   */
  reconfigure({ routes, timeoutMs, limits }: GatewayChange): void {
    const routing = routingOf(routes)
    const before = this.routing
    this.routing = routing
    this.timeoutMs = timeoutMs ?? DEFAULT_TIMEOUT_MS
    this.limits = { ...GATEWAY_LIMITS, ...withoutUndefined(limits), headerBytes: this.limits.headerBytes }
    this.limitServer()
    // A request has left its table when it is routed.
    before.table.dispose()
  }

  /** Opens the port. Rejects with what the operating system says, `EADDRINUSE` among it. */
  listen(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.server.once('error', reject)
      this.server.listen(this.options.port ?? 8080, this.options.host ?? '127.0.0.1', () => {
        this.server.off('error', reject)
        const { address, port, family } = this.server.address() as AddressInfo
        this.address = `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`
        resolve()
      })
    })
  }

  /**
   * Drains and closes: takes no new connection, answers what is in flight with `connection: close`, gives idle
   * connections a moment for the request that may be under way, and after `graceMs` closes what is left.
   * Idempotent.
   */
  close(graceMs = this.options.graceMs ?? DEFAULT_GRACE_MS): Promise<void> {
    this.closing ??= this.drain(graceMs)
    return this.closing
  }

  private async drain(graceMs: number): Promise<void> {
    this.state.draining = true
    // http.Server.close() would cut idle connections at once, and with them a request that is on the wire.
    const closed = new Promise<void>((resolve) => NetServer.prototype.close.call(this.server, () => resolve()))
    const started = performance.now()
    await settled(Math.min(IDLE_GRACE_MS, graceMs))
    for (const socket of this.sockets) if (!this.busy.has(socket)) socket.end()
    const left = graceMs - (performance.now() - started)
    if (this.state.inFlight > 0 && left > 0) {
      const idle = new Promise<void>((resolve) => {
        this.onIdle = resolve
      })
      await Promise.race([idle, settled(left)])
    }
    for (const socket of this.sockets) {
      if (this.busy.has(socket)) socket.destroy()
      else socket.destroySoon()
    }
    await closed
    this.server.closeAllConnections()
    this.upstreams.close()
    this.routing.table.dispose()
  }

  /** The limits that Node enforces. */
  private limitServer(): void {
    const { connections, requestsPerConnection, headersTimeoutMs, requestTimeoutMs, keepAliveTimeoutMs } = this.limits
    this.server.maxConnections = connections
    this.server.maxRequestsPerSocket = requestsPerConnection
    this.server.headersTimeout = Math.min(headersTimeoutMs, requestTimeoutMs)
    this.server.requestTimeout = requestTimeoutMs
    this.server.keepAliveTimeout = keepAliveTimeoutMs
  }

  private admit(socket: Socket): void {
    const client = socket.remoteAddress ?? ''
    const open = (this.socketsByClient.get(client) ?? 0) + 1
    if (open > this.limits.connectionsPerClient) {
      socket.destroy()
      return
    }
    this.socketsByClient.set(client, open)
    this.sockets.add(socket)
    socket.once('close', () => {
      this.sockets.delete(socket)
      const left = (this.socketsByClient.get(client) ?? 1) - 1
      if (left > 0) this.socketsByClient.set(client, left)
      else this.socketsByClient.delete(client)
    })
  }

  private async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const requestId = requestIdOf(request)
    const exchange = new Exchange(this.options.mesh, request, response, requestId)
    const { socket } = request
    this.state.inFlight++
    this.busy.set(socket, (this.busy.get(socket) ?? 0) + 1)
    let target: string | undefined
    response.once('close', () => {
      exchange.closed()
      this.answered(exchange, socket, target)
    })
    response.setHeader('x-request-id', requestId)
    if (this.state.draining) response.setHeader('connection', 'close')
    try {
      target = await this.route(exchange)
    } catch (error) {
      target = exchange.routed
      // A client that has gone reads no reply.
      if (!response.destroyed) this.refuse(exchange, toProblem(error))
    }
  }

  private refuse(exchange: Exchange, problem: HttpProblem): void {
    const { request, response, requestId } = exchange
    // The unread rest of a body would be taken for the next request.
    if (!request.complete && problem.extras.headers?.connection === undefined) {
      response.setHeader('connection', 'close')
    }
    sendProblem(response, problem, requestId)
    if (!request.complete) request.resume()
  }

  /** Finds out where a request goes and answers it there. Returns the target's name. */
  private async route(exchange: Exchange): Promise<string | undefined> {
    const { request, response } = exchange
    const method = request.method as string
    checkFraming(request)
    if (request.url === '*' && method === 'OPTIONS') return optionsReply(response, [])
    exchange.target = parseTarget(request.url as string, this.limits.targetBytes)
    const { path } = exchange.target
    const { table, routes } = this.routing
    const match = table.match(method, path)
    if (!('route' in match)) {
      const endpoint = this.options.endpoints === false ? undefined : ENDPOINTS.get(path)
      const allow = endpoint && match.allow.length === 0 ? ['GET', 'HEAD', 'OPTIONS'] : match.allow
      if (allow.length === 0) throw new HttpProblem(404, 'LM_NOT_FOUND', `Nothing is routed at ${path.slice(0, 200)}`)
      if (method === 'OPTIONS') return optionsReply(response, allow)
      if (endpoint && match.allow.length === 0 && (method === 'GET' || method === 'HEAD')) {
        await endpoint(exchange, this.state)
        return undefined
      }
      throw new HttpProblem(405, 'LM_INVALID_ARGUMENT', `${method.slice(0, 20)} is not served here`, {
        field: 'method',
        headers: { allow: allow.join(', ') },
      })
    }
    if (this.state.inFlight > this.limits.inFlight)
      throw new HttpProblem(429, 'LM_RATE_LIMITED', 'Too many requests at once', {
        field: 'limits.inFlight',
        limit: this.limits.inFlight,
        outcome: 'not-delivered',
      })
    const route = routes[match.route] as GatewayRoute
    exchange.parameters = match.parameters
    exchange.bodyLimit = route.maxBodyBytes ?? this.limits.bodyBytes
    const bound = route.timeoutMs ?? this.timeoutMs
    exchange.setTimeout(Math.min(timeoutOf(request) ?? bound, bound))
    exchange.routed = 'upstream' in route ? route.upstream : route.service
    if (request.headers.expect !== undefined && Number(request.headers['content-length'] ?? 0) <= exchange.bodyLimit)
      response.writeContinue()
    if ('upstream' in route) await this.upstreams.answer(exchange, route)
    else await answerByService(exchange, route, this.keys)
    return exchange.routed
  }

  private answered(exchange: Exchange, socket: Socket, target: string | undefined): void {
    this.state.inFlight--
    const left = (this.busy.get(socket) ?? 1) - 1
    if (left > 0) this.busy.set(socket, left)
    else this.busy.delete(socket)
    if (this.state.draining && left <= 0) socket.end()
    if (this.state.inFlight === 0) this.onIdle?.()
    this.options.onAnswer?.({
      target: target ?? exchange.routed,
      method: exchange.request.method as string,
      path: exchange.target.path,
      status: exchange.response.statusCode,
      us: (performance.now() - exchange.startedMs) * 1_000,
      requestId: exchange.requestId,
    })
  }
}

/** Which request goes where. */
interface Routing {
  table: RouteTable
  routes: GatewayRoute[]
}

function routingOf(given: GatewayOptions['routes']): Routing {
  const table = new RouteTable()
  const routes: GatewayRoute[] = []
  try {
    for (const [key, route] of Object.entries(given)) {
      const parsed = parseRouteKey(key)
      if (typeof parsed === 'string')
        throw new LinkmeshError('LM_INVALID_ARGUMENT', parsed, { field: `routes[${JSON.stringify(key)}]` })
      table.add(parsed, routes.length)
      routes.push(typeof route === 'string' ? { service: route } : route)
    }
  } catch (error) {
    table.dispose()
    throw error
  }
  return { table, routes }
}

/** Opens a gateway and its port. */
export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  const gateway = new Gateway(options)
  await gateway.listen()
  return gateway
}

function optionsReply(response: ServerResponse, allow: readonly string[]): undefined {
  response.writeHead(204, allow.length > 0 ? { allow: allow.join(', ') } : {})
  response.end()
}

function settled(milliseconds: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, milliseconds).unref()
  })
}

function withoutUndefined(limits: GatewayOptions['limits']): Partial<GatewayLimits> {
  return Object.fromEntries(Object.entries(limits ?? {}).filter(([, value]) => value !== undefined))
}
