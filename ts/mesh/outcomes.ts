/** From errors to what the router learns, and what a caller is told. */
import { Outcome, Scratch } from '../binding/contract.js'
import { codeOf, errorOf, LinkmeshError, NATIVE_HINT, RemoteError } from '../errors.js'
import type { Call } from './call.js'
import type { Core } from './core.js'
import { fieldOf } from './thrown.js'

/** What a handler's failure says about its instance. */
export function failureOf(error: unknown): Outcome {
  if (error instanceof LinkmeshError) {
    switch (error.code) {
      // The instance refuses for now.
      case 'LM_SATURATED':
      case 'LM_QUEUE_FULL':
      case 'LM_RATE_LIMITED':
      case 'LM_DRAINING':
        return Outcome.Rejected
      // The request was wrong: the instance did its work well by saying so.
      case 'LM_INVALID_ARGUMENT':
      case 'LM_CODEC':
      case 'LM_CONFLICT':
        return Outcome.Ok
      case 'LM_CANCELLED':
        return Outcome.Cancelled
      case 'LM_THREAD_ENDED':
      case 'LM_NODE_LOST':
        return error.outcome === 'not-delivered' ? Outcome.Unreachable : Outcome.Unknown
      case 'LM_REMOTE':
        return httpOutcome((error as RemoteError).data)
      default:
        return Outcome.Error
    }
  }
  return httpOutcome(error)
}

/** Longest that an instance can ask to be left alone, milliseconds: the router's own bound. */
const LONGEST_RETRY_AFTER_MS = 300_000

/** For how long an instance that refused wants to be left alone, milliseconds; 0 when its error does not say. */
export function retryAfterOf(error: unknown): number {
  const retryAfterMs = fieldOf(error, 'retryAfterMs')
  return typeof retryAfterMs === 'number' && retryAfterMs > 0 ? Math.min(retryAfterMs, LONGEST_RETRY_AFTER_MS) : 0
}

/**
 * By the status, in the field where HTTP clients put it: 429 and 503 refuse for now, other 4xx say that the request was
 * wrong. An error without one that says when to come back refuses for now, too.
 */
function httpOutcome(error: unknown): Outcome {
  const found = fieldOf(error, 'status') ?? fieldOf(error, 'statusCode')
  if (found === 429 || found === 503 || (found === undefined && retryAfterOf(error) > 0)) return Outcome.Rejected
  return typeof found === 'number' && found >= 400 && found < 500 ? Outcome.Ok : Outcome.Error
}

/** Whether one more attempt could help and cannot harm. The budget is asked afterwards. */
export function retryAllowed(call: Call, error: unknown, outcome: Outcome): boolean {
  if (outcome === Outcome.Ok || outcome === Outcome.Cancelled || outcome === Outcome.Timeout) return false
  if (outcome !== Outcome.Unreachable && !call.idempotent) return false
  // An error that says so itself is believed.
  const said = saysRetryable(error)
  // With an idempotency key a failure is an answer, and is remembered: another attempt would get the same.
  if (outcome === Outcome.Error && call.guarantees?.idempotencyKey !== undefined) return said === true
  return said !== false
}

/** What an error says of itself: true, false, or nothing. */
export function saysRetryable(error: unknown): unknown {
  return error instanceof RemoteError ? error.data.retryable : fieldOf(error, 'retryable')
}

/** The error for a refused pick or wait; unless it is given, `retryAfterMs` is where the hot call left it. */
export function refusalOf(core: Core, service: string, status: number, waitMs?: number): LinkmeshError {
  const code = codeOf(status)
  const wait = waitMs ?? (core.scratch[Scratch.RetryAfterMs] as number)
  const retryAfterMs = wait > 0 ? wait : undefined
  if (code === 'LM_NATIVE_REQUIRED') return errorOf(code, `${service} ${NATIVE_HINT}`)
  return errorOf(code, `${service}: ${REFUSALS[code] ?? 'the router refused the request'}`, { retryAfterMs })
}

const REFUSALS: Readonly<Record<string, string>> = {
  LM_NO_INSTANCE: 'no instance is alive',
  LM_BREAKER_OPEN: 'every live instance is ejected by its circuit breaker',
  LM_SATURATED: 'every eligible instance is at its concurrency limit',
  LM_RATE_LIMITED: 'the rate limit is reached',
  LM_QUEUE_FULL: 'the queue of waiting requests is full',
  LM_DEADLINE_EXCEEDED: 'the deadline passed while waiting for a free instance',
  LM_DRAINING: 'every instance is draining',
  LM_STALE_HANDLE: 'the service was removed',
  LM_CLOSED: 'the mesh is closed',
}
