/** What `mesh.stream()` returns: starts at the first `next()`, ends its ticket when it ends, however that happens. */
import type { Call } from './call.js'

export class ReplyStream<Item> implements AsyncIterableIterator<Item> {
  readonly #call: Call
  #source: Promise<AsyncIterator<Item>> | undefined
  /** Reads that wait for an item; ended by force when the stream is cancelled. */
  readonly #reads = new Set<(error: unknown) => void>()
  #done = false
  #failure: { error: unknown } | undefined

  constructor(call: Call) {
    this.#call = call
    call.onOpenEnd = (error) => {
      this.#done = true
      if (this.#reads.size === 0) this.#failure = { error }
      for (const reject of this.#reads) reject(error)
      this.#reads.clear()
    }
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  next(): Promise<IteratorResult<Item>> {
    return new Promise((resolve, reject) => {
      if (this.#done) {
        const failure = this.#failure
        this.#failure = undefined
        if (failure === undefined) resolve({ value: undefined, done: true })
        else reject(failure.error)
        return
      }
      this.#reads.add(reject)
      this.#read().then(
        (result) => {
          this.#reads.delete(reject)
          resolve(result)
        },
        (error: unknown) => {
          this.#reads.delete(reject)
          reject(error)
        },
      )
    })
  }

  async #read(): Promise<IteratorResult<Item>> {
    if (this.#source === undefined) {
      this.#source = this.#call.promise as Promise<AsyncIterator<Item>>
      this.#call.dispatcher.launch(this.#call)
    }
    try {
      const source = await this.#source
      const result = await source.next()
      if (result.done === true) this.#end(undefined)
      return result.done === true ? { value: undefined, done: true } : result
    } catch (error) {
      this.#end(error)
      throw error
    }
  }

  #end(error: unknown): void {
    this.#done = true
    this.#call.dispatcher.ended(this.#call, error)
  }

  /** Stops the stream: the producer is told, its own `finally` blocks run. */
  async return(): Promise<IteratorResult<Item>> {
    if (this.#done) return { value: undefined, done: true }
    this.#done = true
    const { dispatcher } = this.#call
    if (this.#source === undefined) return { value: undefined, done: true }
    if (this.#call.open) {
      const source = await this.#source
      dispatcher.ended(this.#call, undefined)
      this.#call.context?.abort(undefined)
      await source.return?.()
    } else {
      this.#source.catch(() => {})
      dispatcher.cancel(this.#call, undefined)
    }
    return { value: undefined, done: true }
  }
}
