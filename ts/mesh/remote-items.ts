/** The consuming end of a stream that another thread produces. Bounded by credits: what is under way fits the window. */

interface Waiter {
  resolve(result: IteratorResult<unknown>): void
  reject(error: unknown): void
}

export class RemoteItems implements AsyncIterator<unknown> {
  readonly #items: unknown[] = []
  readonly #waiters: Waiter[] = []
  readonly #grant: (credits: number) => void
  readonly #abandon: () => void
  readonly #batch: number
  #taken = 0
  #ended = false
  #error: unknown

  /** `grant` sends credits back, in batches of half a window; `abandon` tells the producer to stop. */
  constructor(window: number, grant: (credits: number) => void, abandon: () => void) {
    this.#batch = Math.max(1, window >>> 1)
    this.#grant = grant
    this.#abandon = abandon
  }

  push(item: unknown): void {
    if (this.#ended) return
    const waiter = this.#waiters.shift()
    if (waiter === undefined) {
      this.#items.push(item)
      return
    }
    this.#took()
    waiter.resolve({ value: item, done: false })
  }

  /** No more items; with an error, consumers see it after the items that came before. */
  end(error?: unknown): void {
    if (this.#ended) return
    this.#ended = true
    this.#error = error
    for (const waiter of this.#waiters.splice(0)) {
      if (error === undefined) waiter.resolve({ value: undefined, done: true })
      else waiter.reject(error)
    }
  }

  next(): Promise<IteratorResult<unknown>> {
    if (this.#items.length > 0) {
      this.#took()
      return Promise.resolve({ value: this.#items.shift(), done: false })
    }
    if (!this.#ended) return new Promise((resolve, reject) => this.#waiters.push({ resolve, reject }))
    const error = this.#error
    this.#error = undefined
    return error === undefined ? Promise.resolve({ value: undefined, done: true }) : Promise.reject(error)
  }

  return(): Promise<IteratorResult<unknown>> {
    if (!this.#ended) {
      this.end()
      this.#abandon()
    }
    this.#items.length = 0
    return Promise.resolve({ value: undefined, done: true })
  }

  #took(): void {
    this.#taken++
    if (this.#taken < this.#batch || this.#ended) return
    this.#grant(this.#taken)
    this.#taken = 0
  }
}
