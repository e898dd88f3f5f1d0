/** Reads a request body within its limit and turns it into what a handler receives. */
import type { IncomingMessage } from 'node:http'
import { HttpProblem } from './problem.js'

/**
 * The whole body.
 *
 * A declared length above the limit is refused before a byte is read; an undeclared one as soon as it is crossed.
 *
 * @throws HttpProblem 413; 400 when the client stops before the end
 */
export function readBody(request: IncomingMessage, limit: number): Promise<Buffer> {
  const declared = request.headers['content-length']
  if (declared === undefined && request.headers['transfer-encoding'] === undefined) return EMPTY_BODY
  if (declared !== undefined && Number(declared) > limit) return Promise.reject(tooLarge(limit))
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let length = 0
    request.on('data', (chunk: Buffer) => {
      length += chunk.length
      if (length > limit) {
        request.pause()
        request.removeAllListeners('data')
        reject(tooLarge(limit))
      } else chunks.push(chunk)
    })
    request.on('end', () => resolve(chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks, length)))
    request.on('error', () => reject(stopped()))
    request.on('close', () => reject(stopped()))
  })
}
const EMPTY_BODY = Promise.resolve(Buffer.alloc(0))

function tooLarge(limit: number): HttpProblem {
  // The rest of the body is still on its way: the connection cannot be used again.
  return new HttpProblem(413, 'LM_LIMIT_EXCEEDED', 'The request body is too large', {
    field: 'body',
    limit,
    headers: { connection: 'close' },
  })
}

function stopped(): HttpProblem {
  return new HttpProblem(400, 'LM_INVALID_ARGUMENT', 'The request body ended too early', { field: 'body' })
}

const utf8 = new TextDecoder('utf-8', { fatal: true })

/**
 * Merges a JSON body, the query and the path parameters into one object; a later one wins, so that nothing a
 * client sends can override the path it was routed by.
 *
 * @throws HttpProblem 415 for a body that is not JSON in UTF-8, 400 when it does not parse or is no object
 */
export function mergeBody(
  request: IncomingMessage,
  bytes: Buffer,
  query: Record<string, string | string[]>,
  parameters: Record<string, string>,
): Record<string, unknown> {
  return { ...(bytes.length === 0 ? undefined : parseJson(request, bytes)), ...query, ...parameters }
}

function parseJson(request: IncomingMessage, bytes: Buffer): Record<string, unknown> {
  const encoding = request.headers['content-encoding']
  if (encoding !== undefined && encoding.toLowerCase() !== 'identity')
    throw new HttpProblem(415, 'LM_INVALID_ARGUMENT', 'Send the body without content-encoding', {
      field: 'content-encoding',
    })
  const type = request.headers['content-type'] ?? ''
  if (!/^application\/(?:[\w.-]+\+)?json\s*(?:;\s*charset="?utf-8"?\s*)?$/i.test(type))
    throw new HttpProblem(415, 'LM_INVALID_ARGUMENT', 'Send JSON: content-type application/json, UTF-8', {
      field: 'content-type',
    })
  let value: unknown
  try {
    value = JSON.parse(utf8.decode(bytes))
  } catch {
    throw new HttpProblem(400, 'LM_INVALID_ARGUMENT', 'The body is not JSON in UTF-8', { field: 'body' })
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new HttpProblem(400, 'LM_INVALID_ARGUMENT', 'The body is not a JSON object', { field: 'body' })
  // JSON.parse makes it an own property; copied with others it would become a prototype.
  if (Object.hasOwn(value, '__proto__'))
    throw new HttpProblem(400, 'LM_INVALID_ARGUMENT', '__proto__ is no field name', { field: 'body' })
  return value as Record<string, unknown>
}
