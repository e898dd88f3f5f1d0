/** Sends a request over kept-alive sockets and gives back the whole reply. */
import { Agent, request as httpRequest } from 'node:http'
import type { LoadReply, LoadRequest } from '../../config/load-profile.js'

const SOCKETS_MAX = 128
const REPLY_BYTES_MAX = 16 << 20

export class HttpClient {
  private readonly agent = new Agent({
    keepAlive: true,
    maxSockets: SOCKETS_MAX,
    maxFreeSockets: SOCKETS_MAX,
    scheduling: 'lifo',
  })
  private readonly host: string
  private readonly port: number

  constructor(
    url: string,
    private readonly timeoutMs: number,
  ) {
    const { hostname, port } = new URL(url)
    this.host = hostname.replace(/^\[|\]$/g, '')
    this.port = Number(port || 80)
  }

  /** Rejects when no whole reply came within the timeout. */
  send(request: LoadRequest): Promise<LoadReply> {
    return new Promise((resolve, reject) => {
      const outgoing = httpRequest({
        agent: this.agent,
        host: this.host,
        port: this.port,
        method: request.method,
        path: request.target,
        headers: {
          ...request.headers,
          ...(request.body === undefined ? {} : { 'content-length': Buffer.byteLength(request.body) }),
        },
        timeout: this.timeoutMs,
      })
      outgoing.on('timeout', () => outgoing.destroy(new Error(`no reply within ${this.timeoutMs} ms`)))
      outgoing.on('error', reject)
      outgoing.on('response', (reply) => {
        const chunks: Buffer[] = []
        let length = 0
        reply.on('data', (chunk: Buffer) => {
          length += chunk.length
          if (length > REPLY_BYTES_MAX) reply.destroy(new Error(`a reply above ${REPLY_BYTES_MAX} bytes`))
          else chunks.push(chunk)
        })
        reply.on('error', reject)
        reply.on('aborted', () => reject(new Error('the reply broke off')))
        reply.on('end', () => {
          const body = chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks, length)
          resolve({ status: reply.statusCode as number, headers: reply.headers, body })
        })
      })
      outgoing.end(request.body)
    })
  }

  close(): void {
    this.agent.destroy()
  }
}
