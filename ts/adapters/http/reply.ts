/** What a handler returned, as an HTTP reply. */
import type { ServerResponse } from 'node:http'

const MARK = 'linkmesh.http'

/** A reply with its own status and header fields; plain data, so it crosses threads like any other value. */
export interface HttpReply {
  [MARK]: { status: number; headers?: Record<string, string> }
  body?: unknown
}

/** Field names a handler may not set: they belong to the connection. */
const RESERVED = new Set([
  'connection',
  'content-length',
  'transfer-encoding',
  'keep-alive',
  'upgrade',
  'trailer',
  'te',
])

/**
 * Lets a handler choose the status and header fields of its HTTP reply:
 * `return httpReply({ id }, { status: 201, headers: { location: '/orders/1' } })`.
 */
export function httpReply(body: unknown, init: { status?: number; headers?: Record<string, string> } = {}): HttpReply {
  return { [MARK]: { status: init.status ?? 200, ...(init.headers ? { headers: init.headers } : {}) }, body }
}

/**
 * Writes a handler's value: objects as JSON, text and bytes as they are, nothing as 204.
 *
 * @param contentType of text and bytes; default `text/plain` and `application/octet-stream`
 */
export function sendReply(response: ServerResponse, value: unknown, contentType: string | undefined): void {
  let status = 200
  let body = value
  if (isHttpReply(value)) {
    const { status: own, headers } = value[MARK]
    if (!Number.isInteger(own) || own < 200 || own > 599) throw new TypeError(`${own} is no HTTP status`)
    for (const [name, text] of Object.entries(headers ?? {}))
      if (!RESERVED.has(name.toLowerCase())) response.setHeader(name, text)
    status = own
    body = value.body
  }
  if (body === undefined || status === 204 || status === 304) {
    response.writeHead(status === 200 ? 204 : status)
    response.end()
    return
  }
  const binary = body instanceof Uint8Array
  const bytes = body instanceof Uint8Array ? body : Buffer.from(typeof body === 'string' ? body : JSON.stringify(body))
  if (!response.hasHeader('content-type')) {
    const plain = binary ? 'application/octet-stream' : 'text/plain; charset=utf-8'
    response.setHeader('content-type', binary || typeof body === 'string' ? (contentType ?? plain) : 'application/json')
  }
  response.setHeader('content-length', bytes.byteLength)
  response.writeHead(status)
  response.end(response.req.method === 'HEAD' ? undefined : bytes)
}

function isHttpReply(value: unknown): value is HttpReply {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, MARK)
}
