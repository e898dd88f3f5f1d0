/**
 * One request on its way to one instance, and its reply on the way back to the client.
 *
 * Plain callbacks instead of a signal and a pipeline: those make an event target, a controller and listeners on each side
 * for every request, which cost more than the HTTP around them.
 */
import { type Agent, request as httpRequest, type IncomingMessage } from 'node:http'
import type { Exchange } from './exchange.js'
import { endToEndHeaders } from './headers.js'

/** A reply may take its time, but neither its sender nor its reader may stand still for so long. */
const STALL_MS = 30_000
const REPLY_OWN_FIELDS: ReadonlySet<string> = new Set(['x-request-id'])

/** Where to: what `http.request` wants to know of an address. */
export interface Origin {
  /** As the `host` field says it. */
  authority: string
  host: string
  port: number
}

/** @param address `http://host:port`, as an instance registers it */
export function originOf(address: string): Origin {
  const { host, hostname, port } = new URL(address)
  return { authority: host, host: hostname.replace(/^\[|\]$/g, ''), port: port === '' ? 80 : Number(port) }
}

/** The instance did not begin a reply. */
export interface Failure {
  error: Error
  /** False when not a byte of the request can have reached the instance. */
  sent: boolean
  timedOut: boolean
}

export interface Forwarding {
  agent: Agent
  origin: Origin
  /** A flat list of names and values. */
  headers: string[]
  body: Buffer
  /** For the first byte of the reply. */
  timeoutMs: number
  /** Called once, when the reply begins. */
  onReply(reply: IncomingMessage): void
}

/** Resolves to nothing when the reply has gone to the client, as far as it came. Rejects with what `onReply` throws. */
export function forward(exchange: Exchange, forwarding: Forwarding): Promise<Failure | undefined> {
  const { agent, origin, headers, body, timeoutMs, onReply } = forwarding
  const { request } = exchange
  return new Promise((resolve, reject) => {
    let timedOut = false
    let connected = false
    let replied = false
    const outgoing = httpRequest({
      agent,
      host: origin.host,
      port: origin.port,
      method: request.method as string,
      path: request.url as string,
      headers,
    })
    const timer = setTimeout(() => {
      timedOut = true
      outgoing.destroy(new Error('deadline'))
    }, timeoutMs)
    const settled = () => {
      clearTimeout(timer)
      exchange.onGone = undefined
    }
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
      replied = true
      clearTimeout(timer)
      try {
        onReply(reply)
        passOn(exchange, reply, () => {
          settled()
          resolve(undefined)
        })
      } catch (error) {
        settled()
        reply.on('error', () => {}).destroy()
        reject(error)
      }
    })
    outgoing.on('error', (error) => {
      // Once the reply has begun, what becomes of it is seen there.
      if (replied) return
      settled()
      resolve({ error, sent: connected, timedOut })
    })
    exchange.onGone = (reason) => outgoing.destroy(reason)
    if (exchange.gone) outgoing.destroy(new Error('The client closed the connection'))
    else if (body.length > 0) outgoing.end(body)
    else outgoing.end()
  })
}

/** Writes a reply to the client as it comes, no faster than the client reads. */
function passOn(exchange: Exchange, reply: IncomingMessage, done: () => void): void {
  const { response } = exchange
  const fields = endToEndHeaders(reply.rawHeaders, REPLY_OWN_FIELDS)
  // One by one: writeHead with a list would keep only the last of several cookies.
  for (let i = 0; i < fields.length; i += 2) response.appendHeader(fields[i] as string, fields[i + 1] as string)
  response.writeHead(reply.statusCode as number)
  let ended = false
  const stalled = setTimeout(() => reply.destroy(), STALL_MS)
  reply.on('data', (chunk: Buffer) => {
    stalled.refresh()
    if (response.write(chunk)) return
    reply.pause()
    response.once('drain', () => {
      stalled.refresh()
      reply.resume()
    })
  })
  reply.on('end', () => {
    ended = true
    response.end()
  })
  // An instance that breaks off: its 'close' follows.
  reply.on('error', () => {})
  reply.on('close', () => {
    clearTimeout(stalled)
    // A part is never taken for the whole.
    if (!ended) response.destroy()
    done()
  })
}
