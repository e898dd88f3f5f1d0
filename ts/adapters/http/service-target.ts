/** Answers a request by a service of the mesh. */

import { readTrace, withTrace } from '../../mesh/trace.js'
import { mergeBody, readBody } from './body.js'
import type { Exchange } from './exchange.js'
import { idempotencyOf, type KeysInFlight } from './idempotency.js'
import type { ServiceRoute } from './options.js'
import { sendReply } from './reply.js'
import { parseQuery } from './target.js'

/** Reads the body, asks the service, writes the reply. Throws what the mesh throws. */
export async function answerByService(exchange: Exchange, route: ServiceRoute, keys: KeysInFlight): Promise<void> {
  const { request, response, mesh } = exchange
  const bytes = await readBody(request, exchange.bodyLimit)
  const raw = route.body === 'raw'
  const payload = raw ? bytes : mergeBody(request, bytes, parseQuery(exchange.target.query), exchange.parameters)
  const key = keyOf(exchange, route.key)
  const trace = readTrace(request.headers)
  const idempotency = idempotencyOf(exchange, route, bytes)
  const ask = () =>
    mesh.request(route.service, payload, {
      timeoutMs: exchange.remainingMs(),
      signal: exchange.signal(),
      ...(key === undefined ? {} : { key }),
      ...(route.qos === undefined ? {} : { qos: route.qos }),
      ...(trace === undefined ? {} : { metadata: withTrace(undefined, trace) }),
      ...idempotency,
    })
  const value = await (idempotency === undefined ? ask() : keys.run(route.service, idempotency, ask))
  sendReply(response, value, route.contentType)
}

function keyOf(exchange: Exchange, key: string | undefined): string | undefined {
  if (key === undefined) return undefined
  if (!key.startsWith('header:')) return exchange.parameters[key]
  const value = exchange.request.headers[key.slice('header:'.length).toLowerCase()]
  return Array.isArray(value) ? value[0] : value
}
