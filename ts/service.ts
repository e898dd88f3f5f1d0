/** What a service is to its author and its callers: handlers, options, contracts. */
import type { InstanceSpec, Policy, QosClass } from './binding/contract.js'
import type { Context } from './mesh/context.js'

export type { Context } from './mesh/context.js'

/**
 * Serves one service. What it returns (or resolves to) is the reply; what it throws reaches the caller.
 * An async iterable is a stream of replies, taken by `mesh.stream()`.
 *
 * In the caller's own thread the body is the caller's object itself; from another thread it is a decoded copy.
 */
// biome-ignore lint/suspicious/noExplicitAny: a handler names its own body type; `unknown` would refuse every handler that does
export type Handler<Body = any, Reply = unknown> = (body: Body, ctx: Context) => Reply | Promise<Reply>

export interface ServiceOptions extends Omit<InstanceSpec, 'address'> {
  /** Policy of the whole service; the last definition wins. */
  policy?: Policy
  /** Repeating a request does no harm, so it may be retried even when it may have been delivered. Default false. */
  idempotent?: boolean
}

export interface RequestOptions {
  /** How long the caller waits, milliseconds; default the service's policy; Infinity for no deadline. */
  timeoutMs?: number
  /**
   * Requests of one key go to one instance while it is eligible. At most 1,024 characters. With the policy's `ordering:
   * 'key'` they come one after the other, see {@link Policy}.
   */
  key?: string
  /**
   * Names what is to be done once. A repeat with the same key is answered with the first one's answer, reply or error, for as
   * long as the process that served it remembers (policy `idempotency`); one that comes meanwhile waits for it. The request
   * counts as idempotent. At most 1,024 characters.
   */
  idempotencyKey?: string
  /**
   * What a repeat must be alike in, a digest of the request for example: one with the same `idempotencyKey` and another
   * fingerprint is refused (`LM_CONFLICT`) instead of answered. 1 to 128 printable characters of ASCII.
   */
  idempotencyFingerprint?: string
  signal?: AbortSignal
  /**
   * Class of service; default, for a request within a handler, the class that its caller named; else the service's
   * `policy.qos.class`.
   */
  qos?: QosClass
  /** At most 64 entries and 16 KiB. */
  metadata?: Readonly<Record<string, string>>
  /** Overrides the service's own mark for this request. */
  idempotent?: boolean
  /** Attempts after the first; default and upper bound: the policy's `retry.limit`. 0 turns retries off. */
  retries?: number
}

export interface StreamOptions
  extends Omit<RequestOptions, 'idempotencyKey' | 'idempotencyFingerprint' | 'idempotent' | 'retries'> {
  /** Items that may be under way before the consumer has taken them; 1 to 4,096, default 32. */
  window?: number
}
