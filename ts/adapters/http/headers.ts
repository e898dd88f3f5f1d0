/** Header fields the gateway reads or must not hand on. */
import { Buffer } from 'node:buffer'
import { randomBytes } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { HttpProblem } from './problem.js'

/** Fields that may come once only: two of them are two requests to two different readers. */
const SINGLE_FIELDS = new Set([
  'host',
  'content-length',
  'transfer-encoding',
  'content-type',
  'content-encoding',
  'authorization',
  'x-request-id',
  'x-request-timeout-ms',
  'grpc-timeout',
])

/** Hop-by-hop fields (RFC 9110 §7.6.1) and what only concerns the connection before us. */
const HOP_BY_HOP = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'expect',
  'http2-settings',
])

/**
 * Refuses what Node's parser lets through but two readers could take differently.
 *
 * @throws HttpProblem 400
 */
export function checkFraming(request: IncomingMessage): void {
  const raw = request.rawHeaders
  let seen: Set<string> | undefined
  for (let i = 0; i < raw.length; i += 2) {
    const name = (raw[i] as string).toLowerCase()
    if (!SINGLE_FIELDS.has(name)) continue
    seen ??= new Set()
    if (seen.has(name)) throw new HttpProblem(400, 'LM_INVALID_ARGUMENT', `${name} comes twice`, { field: name })
    seen.add(name)
  }
  if (request.headers.host === undefined && request.httpVersion === '1.1')
    throw new HttpProblem(400, 'LM_INVALID_ARGUMENT', 'There is no host field', { field: 'host' })
  const coding = request.headers['transfer-encoding']
  if (coding === undefined) return
  if (request.headers['content-length'] !== undefined)
    throw new HttpProblem(400, 'LM_INVALID_ARGUMENT', 'transfer-encoding and content-length together', {
      field: 'transfer-encoding',
    })
  if (coding.toLowerCase() !== 'chunked')
    throw new HttpProblem(501, 'LM_INVALID_ARGUMENT', 'Only the transfer coding chunked is read', {
      field: 'transfer-encoding',
    })
}

/** The client's request id when it is one word of at most 128 safe characters, else a new one. */
export function requestIdOf(request: IncomingMessage): string {
  const given = request.headers['x-request-id']
  if (typeof given === 'string' && /^[A-Za-z0-9._:-]{1,128}$/.test(given)) return given
  return newRequestId()
}

const ID_BYTES = 12
/** Random bytes for many ids: asking for twelve at a time costs more than the rest of an id. */
let pool = Buffer.alloc(0)
let used = 0

function newRequestId(): string {
  if (used === pool.length) {
    pool = randomBytes(ID_BYTES * 256)
    used = 0
  }
  used += ID_BYTES
  return pool.toString('hex', used - ID_BYTES, used)
}

const GRPC_UNITS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1_000, m: 1, u: 1e-3, n: 1e-6 }
const TIMEOUT_MAX_MS = 24 * 3_600_000

/**
 * Milliseconds the client gives the request: `x-request-timeout-ms: 250` or `grpc-timeout: 250m`; undefined when it says nothing.
 *
 * @throws HttpProblem 400 when the value is no whole positive number of at most a day
 */
export function timeoutOf(request: IncomingMessage): number | undefined {
  const milliseconds = request.headers['x-request-timeout-ms']
  if (milliseconds !== undefined) {
    const value = /^\d{1,9}$/.test(String(milliseconds)) ? Number(milliseconds) : Number.NaN
    if (!(value >= 1 && value <= TIMEOUT_MAX_MS)) throw badTimeout('x-request-timeout-ms')
    return value
  }
  const grpc = request.headers['grpc-timeout']
  if (grpc === undefined) return undefined
  const parts = /^(\d{1,8})([HMSmun])$/.exec(String(grpc))
  if (!parts) throw badTimeout('grpc-timeout')
  const value = Math.ceil(Number(parts[1]) * (GRPC_UNITS[parts[2] as string] as number))
  if (!(value >= 1)) throw badTimeout('grpc-timeout')
  return Math.min(value, TIMEOUT_MAX_MS)
}

function badTimeout(field: string): HttpProblem {
  return new HttpProblem(400, 'LM_INVALID_ARGUMENT', `${field} is not a positive time of at most a day`, {
    field,
    limit: TIMEOUT_MAX_MS,
  })
}

/** End-to-end fields of a message, as a flat list of names and values that keeps order, case and repetition. */
export function endToEndHeaders(rawHeaders: readonly string[], also: ReadonlySet<string> = NONE): string[] {
  const named = namedByConnection(rawHeaders)
  const kept: string[] = []
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = (rawHeaders[i] as string).toLowerCase()
    if (HOP_BY_HOP.has(name) || also.has(name) || named.has(name)) continue
    kept.push(rawHeaders[i] as string, rawHeaders[i + 1] as string)
  }
  return kept
}

/** Fields that only concern the connection because its own field says so. */
function namedByConnection(rawHeaders: readonly string[]): ReadonlySet<string> {
  let named: Set<string> | undefined
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] as string
    if (name.length !== CONNECTION.length || name.toLowerCase() !== CONNECTION) continue
    const value = (rawHeaders[i + 1] as string).toLowerCase()
    // What nearly every message says names no field that would be passed on.
    if (value === 'keep-alive' || value === 'close') continue
    named ??= new Set()
    for (const one of value.split(',')) named.add(one.trim())
  }
  return named ?? NONE
}
const CONNECTION = 'connection'
const NONE: ReadonlySet<string> = new Set()
