/** What a handler is told about the request it serves. */
import { CancelledError } from '../errors.js'
import type { Qos, QosClass } from '../binding/contract.js'
import type { Mesh } from '../mesh.js'
import type { RequestOptions, StreamOptions } from '../service.js'
import { nowMs } from './clock.js'
import type { Guarantees } from './guarantees.js'
import { qosWord } from './qos.js'
import { readTrace, type TraceContext } from './trace.js'

const NO_METADATA: Readonly<Record<string, string>> = Object.freeze({})

/** Something that ends when its context does: a nested request. */
export interface Cancellable {
  cancel(reason: unknown): void
}

export class Context {
  /** The mesh that the handler was registered on. */
  readonly mesh: Mesh
  /** Name of the service. */
  readonly service: string
  /** The caller's routing key, or undefined. */
  readonly key: string | undefined
  /** What the caller sent along: trace ids, tenant, … */
  readonly metadata: Readonly<Record<string, string>>
  /** 1 for the first attempt of this request, 2 for its first retry. */
  readonly attempt: number
  /** Milliseconds on the process's monotonic clock when the caller stops waiting; Infinity for never. */
  readonly deadline: number
  /** @internal Number of the class that the caller named, or inherited. */
  readonly class: Qos

  /** @internal */
  guarantees: Guarantees | undefined = undefined
  #trace: TraceContext | null | undefined
  #controller: AbortController | undefined
  #children: Set<Cancellable> | undefined
  #aborted = false
  #reason: unknown

  constructor(
    mesh: Mesh,
    service: string,
    key: string | undefined,
    metadata: Readonly<Record<string, string>> | undefined,
    attempt: number,
    deadline: number,
    qos: Qos,
  ) {
    this.mesh = mesh
    this.service = service
    this.key = key
    this.metadata = metadata ?? NO_METADATA
    this.attempt = attempt
    this.deadline = deadline
    this.class = qos
  }

  /**
   * The class of service that the caller named, or was asked with itself; undefined when nobody named one, and each
   * service has its own. Nested requests have it, too, unless they name another.
   */
  get qos(): QosClass | undefined {
    return qosWord(this.class)
  }

  /** Where the caller stands in a distributed trace; undefined when it said nothing. Nested requests hand it on. */
  get trace(): TraceContext | undefined {
    if (this.#trace === undefined) this.#trace = readTrace(this.metadata) ?? null
    return this.#trace ?? undefined
  }

  /** The caller's idempotency key, or undefined. For effects elsewhere that must not be made twice either. */
  get idempotencyKey(): string | undefined {
    return this.guarantees?.idempotencyKey
  }

  /**
   * A message of the same key that came before this one was given up, with `ordering: 'key'`: what it was to do has not
   * been done, or nobody knows. Its dead letter says `breaksOrder`.
   */
  get orderBroken(): boolean {
    return this.guarantees?.orderBroken === true
  }

  /** Fires when the caller gives up, its deadline passes, its thread ends, or the mesh closes. Made on first use. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      if (this.#aborted) this.#controller.abort(this.#reason)
    }
    return this.#controller.signal
  }

  /** True once nobody waits for the answer; cheaper than {@link signal}. */
  get aborted(): boolean {
    return this.#aborted
  }

  /** What is left of the caller's time, milliseconds; Infinity without a deadline. */
  get remainingMs(): number {
    return Math.max(0, this.deadline - nowMs())
  }

  /**
   * A request on behalf of this one: it inherits what is left of the deadline, the class of service and the trace, and
   * ends when this one is cancelled.
   */
  request<Reply = unknown>(service: string, body?: unknown, options?: RequestOptions): Promise<Reply> {
    return this.mesh.requestWithin<Reply>(this, service, body, options)
  }

  /** Like {@link request}, for a handler that answers with many items. */
  stream<Item = unknown>(service: string, body?: unknown, options?: StreamOptions): AsyncIterableIterator<Item> {
    return this.mesh.streamWithin<Item>(this, service, body, options)
  }

  /** @internal */
  adopt(child: Cancellable): void {
    if (this.#aborted) {
      child.cancel(this.#reason)
      return
    }
    this.#children ??= new Set()
    this.#children.add(child)
  }

  /** @internal */
  release(child: Cancellable): void {
    this.#children?.delete(child)
  }

  /** @internal */
  abort(reason: unknown): void {
    if (this.#aborted) return
    this.#aborted = true
    this.#reason = reason ?? new CancelledError(`the request to ${this.service} was cancelled`)
    this.#controller?.abort(this.#reason)
    const children = this.#children
    this.#children = undefined
    if (children !== undefined) for (const child of children) child.cancel(this.#reason)
  }
}
