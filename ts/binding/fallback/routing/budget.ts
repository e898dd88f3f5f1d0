/**
 * How many extra requests (retries, hedges) a service affords: a token bucket that requests and time fill, in the whole thousandths of
 * `crates/routing/src/budget.rs`.
 */
import type { Rng } from '../random.js'
import { elapsedMs, toMs } from './estimate.js'
import type { RetryPolicy } from './policy.js'

/** What an extra request costs, thousandths. */
const TOKEN = 1_000
const MOST_REMEMBERED_MS = 10_000

/** What fills a budget: tokens that each request brings, and each second. */
type Refill = Pick<RetryPolicy, 'budget' | 'minPerSecond'>

/** Remembers at most ten seconds of the minimum and the share of a thousand requests. */
export class Budget {
  /** Requests whose share was paid in. */
  #credited = 0
  /** Tokens taken. `picks` counts those requests too; they must not pay in. */
  #granted = 0
  /** Thousandths of tokens, and when they were last paid in, milliseconds modulo 2^32. */
  #tokens: number
  #paidMs: number

  /** One second's minimum to begin with. */
  constructor(policy: Refill, nowUs: number) {
    this.#tokens = policy.minPerSecond * TOKEN
    this.#paidMs = toMs(nowUs)
  }

  /** Tokens taken so far. */
  get granted(): number {
    return this.#granted
  }

  /** Thousandths of tokens there are now. `picks`: all requests of the service so far. Changes nothing. */
  peek(policy: Refill, picks: number, nowUs: number): number {
    const requests = Math.max(0, Math.max(0, picks - this.#granted) - this.#credited)
    return this.#filled(policy, requests, nowUs)
  }

  /** Whether there is a token. */
  hasToken(policy: Refill, picks: number, nowUs: number): boolean {
    return this.peek(policy, picks, nowUs) >= TOKEN
  }

  /** Takes one token if there is one. */
  take(policy: Refill, picks: number, nowUs: number): boolean {
    const requests = Math.max(0, picks - this.#granted)
    const fresh = Math.max(0, requests - this.#credited)
    this.#credited = Math.max(this.#credited, requests)
    const tokens = this.#filled(policy, fresh, nowUs)
    const granted = tokens >= TOKEN
    this.#tokens = granted ? tokens - TOKEN : tokens
    // A clock that stepped back is not believed.
    const nowMs = toMs(nowUs)
    if ((nowMs - this.#paidMs) >>> 0 <= 0x7fffffff) this.#paidMs = nowMs
    if (granted) this.#granted += 1
    return granted
  }

  #filled(policy: Refill, requests: number, nowUs: number): number {
    const share = Math.floor(policy.budget * 1_000 + 0.5)
    const most = (10 * policy.minPerSecond + share) * TOKEN
    const elapsed = Math.min(elapsedMs(this.#paidMs, toMs(nowUs)), MOST_REMEMBERED_MS)
    return Math.min(this.#tokens + requests * share + elapsed * policy.minPerSecond, most)
  }
}

/**
 * Decorrelated jitter [M. Brooker, "Exponential Backoff And Jitter", 2015]: each wait is drawn between the shortest and
 * three times the one before. The waits before are drawn anew, one draw per attempt.
 */
export function backoffMs(policy: RetryPolicy, attempt: number, rng: Rng): number {
  let wait = policy.minBackoffMs
  for (let drawn = 0; drawn < attempt; drawn++) {
    const longest = Math.min(Math.max(wait * 3, 1), policy.maxBackoffMs)
    wait = policy.minBackoffMs + rng.below(Math.max(0, longest - policy.minBackoffMs) + 1)
  }
  return wait
}
