/** One request and its reply, with what the gateway has found out about it. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Mesh } from '../../mesh.js'
import { HttpProblem } from './problem.js'
import type { Target } from './target.js'

export class Exchange {
  parameters: Record<string, string> = {}
  target: Target = { path: '', query: '' }
  bodyLimit = 0
  /** Name of the service or upstream, once a route was found. */
  routed: string | undefined
  readonly startedMs = performance.now()
  /** The client went away before its reply was written. */
  gone = false
  /** Told when it does: one function, where a signal would cost an event target a request. */
  onGone: ((reason: Error) => void) | undefined
  private deadlineMs = Number.POSITIVE_INFINITY
  private controller: AbortController | undefined

  constructor(
    readonly mesh: Mesh,
    readonly request: IncomingMessage,
    readonly response: ServerResponse,
    readonly requestId: string,
  ) {}

  /** The reply must be there `timeoutMs` after the request came. */
  setTimeout(timeoutMs: number): void {
    this.deadlineMs = this.startedMs + timeoutMs
  }

  /** Milliseconds left, at least 1. Throws a 504 when there is nothing left: the request is then never passed on. */
  remainingMs(): number {
    const left = this.deadlineMs - performance.now()
    if (left <= 0)
      throw new HttpProblem(504, 'LM_DEADLINE_EXCEEDED', 'The deadline passed', { outcome: 'not-delivered' })
    return Math.max(1, Math.ceil(left))
  }

  /** Aborted when the client goes away before its reply is written. */
  signal(): AbortSignal {
    if (!this.controller) {
      this.controller = new AbortController()
      if (this.gone) this.controller.abort(clientGone())
    }
    return this.controller.signal
  }

  /** The response has closed, written or not. */
  closed(): void {
    if (this.response.writableFinished) return
    this.gone = true
    this.onGone?.(clientGone())
    this.controller?.abort(clientGone())
  }
}

function clientGone(): Error {
  return new Error('The client closed the connection')
}
