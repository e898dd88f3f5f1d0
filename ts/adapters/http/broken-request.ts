/** Answers what Node's parser refused before it was a request: malformed, too large or too slow. */
import { randomBytes } from 'node:crypto'
import { STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import { HttpProblem, problemBody, problemHeaders } from './problem.js'

/** Listener of `clientError`: writes the problem by hand, since there is no reply object, and closes. */
export function refuseBrokenRequest(error: Error & { code?: string }, socket: Duplex): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy()
    return
  }
  // A reply is being written on this connection: two interleaved would be read as one.
  const current = (socket as Duplex & { _httpMessage?: { headersSent: boolean } })._httpMessage
  if (current?.headersSent) {
    socket.destroy()
    return
  }
  const problem = problemOf(error.code)
  const body = problemBody(problem, randomBytes(12).toString('hex'))
  const headers = { ...problemHeaders(problem, body), connection: 'close' }
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`)
  socket.end(`HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status]}\r\n${lines.join('\r\n')}\r\n\r\n${body}`)
  // A client that keeps sending and never reads holds the socket no longer than this.
  setTimeout(() => socket.destroy(), LINGER_MS).unref()
}
const LINGER_MS = 1_000

function problemOf(code: string | undefined): HttpProblem {
  if (code === 'HPE_HEADER_OVERFLOW')
    return new HttpProblem(431, 'LM_LIMIT_EXCEEDED', 'The header fields are too large', { field: 'headers' })
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT')
    return new HttpProblem(408, 'LM_DEADLINE_EXCEEDED', 'The request came too slowly', { outcome: 'not-delivered' })
  return new HttpProblem(400, 'LM_INVALID_ARGUMENT', 'This is not a well-formed HTTP/1.1 request', { field: 'request' })
}
