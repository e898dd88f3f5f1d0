/** Events of a mesh for somebody who follows them, with a bound on what waits for a slow reader. */
import type { EventBatch, MeshEvent } from '../binding/contract.js'
import type { Core } from '../mesh/core.js'

/** An event of the mesh, or how many the reader missed. */
export type AdminEvent = MeshEvent | { kind: 'gap'; missed: number }

/** Events that wait for a reader. */
const WAITING = 1_024

/** A queue between listeners and one reader: the newest that do not fit are dropped and counted. */
export class Followed<T> implements AsyncIterableIterator<T> {
  readonly #waiting: T[] = []
  readonly #gap: ((missed: number) => T) | undefined
  readonly #stop: () => void
  #missed = 0
  #wake: (() => void) | undefined
  #ended = false

  /** `gap` makes the item that says how many were missed, if anything should; `stop` takes the listeners off. */
  constructor(gap: ((missed: number) => T) | undefined, stop: () => void) {
    this.#gap = gap
    this.#stop = stop
  }

  push(item: T): void {
    if (this.#ended) return
    if (this.#waiting.length >= WAITING) this.#missed++
    else this.#waiting.push(item)
    this.#wake?.()
  }

  end(): void {
    if (this.#ended) return
    this.#ended = true
    this.#stop()
    this.#wake?.()
  }

  async next(): Promise<IteratorResult<T>> {
    for (;;) {
      const item = this.#waiting.shift()
      if (item !== undefined) return { value: item, done: false }
      if (this.#missed > 0 && this.#gap !== undefined) {
        const missed = this.#missed
        this.#missed = 0
        return { value: this.#gap(missed), done: false }
      }
      if (this.#ended) return { value: undefined, done: true }
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
      this.#wake = undefined
    }
  }

  return(): Promise<IteratorResult<T>> {
    this.#waiting.length = 0
    this.#missed = 0
    this.end()
    return Promise.resolve({ value: undefined, done: true })
  }

  [Symbol.asyncIterator](): this {
    return this
  }
}

/** Ends with the signal. Its listeners are on when this returns; what happened before is not told. */
export function followEvents(core: Core, signal?: AbortSignal): Followed<AdminEvent> {
  const { mesh, binding, handle } = core
  const { last } = JSON.parse(binding.eventsSince(handle, Number.MAX_SAFE_INTEGER)) as EventBatch
  const push = (event: MeshEvent): void => {
    if (event.sequence > last) followed.push(event)
  }
  const offs: (() => void)[] = []
  const followed = new Followed<AdminEvent>(
    (missed) => ({ kind: 'gap', missed }),
    () => {
      for (const off of offs) off()
      signal?.removeEventListener('abort', end)
    },
  )
  const end = (): void => followed.end()
  offs.push(
    mesh.on('change', push),
    mesh.on('breaker', push),
    mesh.on('thread-ended', push),
    mesh.on('gap', () => followed.push({ kind: 'gap', missed: 1 })),
  )
  if (signal?.aborted) end()
  else signal?.addEventListener('abort', end)
  return followed
}
