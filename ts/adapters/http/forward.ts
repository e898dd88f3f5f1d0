/**
 * One request on its way to one instance, and its reply on the way back to the client.
 *
 * Plain callbacks instead of a signal and a pipeline: those make an event target, a controller and listeners on each side
 * for every request, which cost more than the HTTP around them. undici's dispatch is that way of writing it, for a third
 * less processor time than `http.request`.
 */
import type { Dispatcher } from 'undici'
import type { Exchange } from './exchange.js'
import { endToEndHeaders } from './headers.js'
import type { UpstreamPool } from './upstream-pools.js'

/** A reply may take its time, but neither its sender nor its reader may stand still for so long. */
const STALL_MS = 30_000
const REPLY_OWN_FIELDS: ReadonlySet<string> = new Set(['x-request-id'])

/** The instance did not begin a reply. */
export interface Failure {
  error: Error
  /** False when not a byte of the request can have reached the instance. */
  sent: boolean
  timedOut: boolean
}

export interface Forwarding {
  /** Connections to the instance's address. */
  pool: UpstreamPool
  /** A flat list of names and values. */
  headers: string[]
  body: Buffer
  /** For the first byte of the reply. */
  timeoutMs: number
  /** Called once, when the reply begins. `fields`: a flat list of names and values. */
  onReply(status: number, fields: readonly string[]): void
}

/** Resolves to nothing when the reply has gone to the client, as far as it came. Rejects with what `onReply` throws. */
export function forward(exchange: Exchange, forwarding: Forwarding): Promise<Failure | undefined> {
  if (exchange.gone) return Promise.resolve({ error: new Error('The client has gone'), sent: false, timedOut: false })
  return new Promise((resolve, reject) => {
    const { pool, headers, body } = forwarding
    const { method, url } = exchange.request
    const forwarded = new Forwarded(exchange, forwarding, resolve, reject)
    pool.dispatcher.dispatch(
      {
        path: url as string,
        method: method as Dispatcher.HttpMethod,
        headers,
        body: body.length > 0 ? body : null,
        // Both are looked after here, to the millisecond.
        headersTimeout: 0,
        bodyTimeout: 0,
      },
      forwarded,
    )
  })
}

class Forwarded implements Dispatcher.DispatchHandlers {
  /** Given when the request is about to be written to a connection. */
  private abort: ((reason: Error) => void) | undefined
  private replied = false
  private settled = false
  private timedOut = false
  /** For the first byte; then for a reply that stands still. */
  private timer: NodeJS.Timeout

  constructor(
    private readonly exchange: Exchange,
    private readonly forwarding: Forwarding,
    private readonly resolve: (failure: Failure | undefined) => void,
    private readonly reject: (error: unknown) => void,
  ) {
    this.timer = setTimeout(() => {
      this.timedOut = true
      this.giveUp(new Error('deadline'))
    }, forwarding.timeoutMs)
    exchange.onGone = (reason) => this.giveUp(reason)
  }

  onConnect(abort: (reason?: Error) => void): void {
    // Given up while it waited for a connection: it is not written.
    if (this.settled) abort()
    else this.abort = abort
  }

  onHeaders(status: number, rawFields: Buffer[], resume: () => void): boolean {
    // Informational; the reply is still to come.
    if (status < 200) return true
    this.replied = true
    clearTimeout(this.timer)
    try {
      const fields = rawFields.map((bytes) => bytes.toString('latin1'))
      this.forwarding.onReply(status, fields)
      this.begin(status, fields)
    } catch (error) {
      this.settle()
      this.reject(error)
      this.abort?.(error as Error)
      return true
    }
    this.timer = setTimeout(() => this.giveUp(new Error('stalled')), STALL_MS)
    this.onDrain = () => {
      this.timer.refresh()
      resume()
    }
    return true
  }
  private onDrain: () => void = () => {}

  private begin(status: number, fields: readonly string[]): void {
    const { response } = this.exchange
    const kept = endToEndHeaders(fields, REPLY_OWN_FIELDS)
    // One by one: writeHead with a list would keep only the last of several cookies.
    for (let i = 0; i < kept.length; i += 2) response.appendHeader(kept[i] as string, kept[i + 1] as string)
    response.writeHead(status)
  }

  /** Writes to the client as it comes, no faster than the client reads. */
  onData(chunk: Buffer): boolean {
    const { response } = this.exchange
    this.timer.refresh()
    if (response.write(chunk)) return true
    response.once('drain', this.onDrain)
    return false
  }

  onComplete(): void {
    if (this.settled) return
    this.settle()
    this.exchange.response.end()
    this.resolve(undefined)
  }

  onError(error: Error): void {
    if (this.settled) return
    this.settle()
    // A part is never taken for the whole.
    if (this.replied) this.exchange.response.destroy()
    this.resolve(this.replied ? undefined : { error, sent: this.abort !== undefined, timedOut: this.timedOut })
  }

  /** Nobody waits for the reply any more. */
  private giveUp(reason: Error): void {
    if (this.abort === undefined) this.onError(reason)
    else this.abort(reason)
  }

  private settle(): void {
    this.settled = true
    clearTimeout(this.timer)
    this.exchange.onGone = undefined
  }
}
