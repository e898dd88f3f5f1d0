/** What the gateway says about itself: `/metrics`, `/health`, `/services`, `/explain`. Read only. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { Outcome } from '../../binding/contract.js'
import type { MetricsFormat } from '../../metrics.js'
import type { Exchange } from './exchange.js'
import { HttpProblem } from './problem.js'
import { parseQuery } from './target.js'

export interface EndpointState {
  draining: boolean
  inFlight: number
  startedAt: number
}

type Endpoint = (exchange: Exchange, state: EndpointState) => Promise<void>

/** Endpoints by path. All answer GET and HEAD. */
export const ENDPOINTS: ReadonlyMap<string, Endpoint> = new Map<string, Endpoint>([
  ['/metrics', metrics],
  ['/health', health],
  ['/services', services],
  ['/explain', explain],
])

const METRIC_TYPES: Readonly<Record<MetricsFormat, string>> = {
  prometheus: 'text/plain; version=0.0.4; charset=utf-8',
  openmetrics: 'application/openmetrics-text; version=1.0.0; charset=utf-8',
  json: 'application/json',
  csv: 'text/csv; charset=utf-8; header=present',
  erlang: 'text/plain; charset=utf-8',
  points: 'application/jsonl',
}
/** In this order of preference. */
const ACCEPTED = [
  ['openmetrics', 'application/openmetrics-text'],
  ['json', 'application/json'],
  ['csv', 'text/csv'],
] as const

/** Prometheus text, or what the client asks for by `?format=` or `Accept`. */
async function metrics(exchange: Exchange): Promise<void> {
  const { format: asked } = parseQuery(exchange.target.query)
  const accept = exchange.request.headers.accept ?? ''
  const format = asked === undefined ? (ACCEPTED.find(([, type]) => accept.includes(type))?.[0] ?? 'prometheus') : asked
  if (typeof format !== 'string' || !Object.hasOwn(METRIC_TYPES, format))
    throw new HttpProblem(400, 'LM_INVALID_ARGUMENT', `format is one of ${Object.keys(METRIC_TYPES).join(', ')}`, {
      field: 'format',
    })
  const known = format as MetricsFormat
  send(exchange, 200, METRIC_TYPES[known], await exchange.mesh.metrics.scrape(known))
}

/** 200 while requests are taken, 503 from the moment a drain begins, so that a balancer in front looks elsewhere. */
async function health(exchange: Exchange, state: EndpointState): Promise<void> {
  const { mesh } = exchange
  const dead = mesh.services().filter((service) => service.instances.every((instance) => instance.health === 'dead'))
  const status = state.draining ? 'draining' : dead.length > 0 ? 'degraded' : 'ok'
  const body = {
    status,
    backend: mesh.backend.kind,
    inFlight: state.inFlight,
    uptimeMs: Math.round(performance.now() - state.startedAt),
    ...(dead.length > 0 ? { withoutInstance: dead.map((service) => service.name) } : {}),
  }
  send(exchange, state.draining ? 503 : 200, 'application/json', JSON.stringify(body))
}

async function services(exchange: Exchange): Promise<void> {
  const { mesh } = exchange
  const peers = mesh.peers()
  // Of a mesh that is no node there is nothing to say.
  const body = { backend: mesh.backend, services: mesh.services(), ...(peers.length > 0 ? { peers } : {}) }
  send(exchange, 200, 'application/json', JSON.stringify(body))
}

const EXPLAIN_PICKS_MAX = 20
const EXPLAIN_WAIT_MS = 1_000

/**
 * `/explain?service=orders.get&picks=5`: the next picks of a service, explained. Picks are watched only while someone
 * asks; when none comes within a second, one is made and given back as cancelled (`trial: true`).
 */
async function explain(exchange: Exchange): Promise<void> {
  const { mesh } = exchange
  const query = parseQuery(exchange.target.query)
  const service = query.service
  if (typeof service !== 'string' || service === '')
    throw new HttpProblem(400, 'LM_INVALID_ARGUMENT', 'Say which service: /explain?service=orders.get', {
      field: 'service',
    })
  if (!mesh.services().some((known) => known.name === service))
    throw new HttpProblem(404, 'LM_NOT_FOUND', `There is no service ${JSON.stringify(service)}; see /services`, {
      field: 'service',
    })
  const wanted = query.picks === undefined ? 5 : Number(query.picks)
  if (!(Number.isInteger(wanted) && wanted >= 1 && wanted <= EXPLAIN_PICKS_MAX))
    throw new HttpProblem(400, 'LM_INVALID_ARGUMENT', 'picks is a whole number from 1', {
      field: 'picks',
      limit: EXPLAIN_PICKS_MAX,
    })
  const tickets = await nextPicks(service, wanted, exchange.signal())
  const explanations = tickets.map((ticket) => mesh.explain(ticket)).filter((explanation) => explanation !== undefined)
  const trial = explanations.length === 0
  const picks = trial ? [trialPick(exchange, service)] : explanations
  send(exchange, 200, 'application/json', JSON.stringify({ service, trial, picks }))
}

/** Tickets of the next picks of a service, fewer when the time runs out. */
function nextPicks(service: string, wanted: number, signal: AbortSignal): Promise<number[]> {
  return new Promise((resolve) => {
    const tickets: number[] = []
    const onPick = (message: unknown) => {
      const pick = message as { service: string; ticket: number }
      if (pick.service === service && tickets.push(pick.ticket) >= wanted) finish()
    }
    const finish = () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', finish)
      unsubscribe('linkmesh:pick', onPick)
      resolve(tickets)
    }
    const timer = setTimeout(finish, EXPLAIN_WAIT_MS)
    signal.addEventListener('abort', finish)
    subscribe('linkmesh:pick', onPick)
  })
}

/** One pick on behalf of nobody. Says nothing about the instance, so it ends as cancelled. */
function trialPick(exchange: Exchange, service: string): unknown {
  const route = exchange.mesh.route(service)
  const ticket = route.pick()
  const explanation = exchange.mesh.explain(ticket)
  route.complete(ticket, Outcome.Cancelled)
  return explanation
}

function send(exchange: Exchange, status: number, type: string, body: string | Uint8Array): void {
  const { response, request } = exchange
  response.writeHead(status, {
    'content-type': type,
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
  })
  response.end(request.method === 'HEAD' ? undefined : body)
}
