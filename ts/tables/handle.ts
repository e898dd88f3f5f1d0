/** What the three tables have in common: a handle of the binding, closed by hand or when nobody refers to it any more. */

import { type Binding, Status } from '../binding/contract.js'
import { loadBinding } from '../binding/index.js'
import { errorOf, errorOfStatus, type LinkmeshError } from '../errors.js'
import { invalid, shown } from '../mesh/checks.js'

interface Held {
  readonly binding: Binding
  readonly handle: number
}

/** Closes what its owner forgot. A safety net: memory comes back sooner by `close()` or `using`. */
const forgotten = new FinalizationRegistry<Held>(({ binding, handle }) => {
  binding.tableClose(handle)
})

/** Names the wrong argument of a refused look-up, which leaves no details behind. */
export interface Refusal {
  readonly field: string
  readonly message: string
  readonly limit?: number | undefined
}

/** An open table. `handle` is 0 after `close`, which the binding refuses like any other stale handle. */
export class TableHandle implements Disposable {
  readonly binding: Binding
  handle: number
  readonly #what: string

  /** Opens by `open`; throws what the binding refused. */
  constructor(what: string, open: (binding: Binding) => number) {
    this.#what = what
    this.binding = loadBinding().binding
    this.handle = this.must(open(this.binding))
    forgotten.register(this, { binding: this.binding, handle: this.handle }, this)
  }

  /** Passes a result that is no failure; throws the typed error otherwise. For calls that leave details behind. */
  must(result: number): number {
    if (result >= 0) return result
    throw this.handle === 0 ? this.#closed() : errorOfStatus(this.binding, result, this.#what)
  }

  /** The error for a negative status of a hot call. */
  refused(status: number, argument: Refusal): LinkmeshError {
    if (this.handle === 0) return this.#closed()
    const words = `${this.#what}: ${argument.message}`
    if (status === Status.InvalidArgument)
      return errorOf('LM_INVALID_ARGUMENT', words, { field: argument.field, limit: argument.limit })
    if (status === Status.LimitExceeded)
      return errorOf('LM_LIMIT_EXCEEDED', words, { field: argument.field, limit: argument.limit })
    return errorOfStatus(this.binding, status, this.#what)
  }

  close(): void {
    const { handle } = this
    if (handle === 0) return
    this.handle = 0
    forgotten.unregister(this)
    this.binding.tableClose(handle)
  }

  [Symbol.dispose](): void {
    this.close()
  }

  #closed(): LinkmeshError {
    return errorOf('LM_CLOSED', `${this.#what} was closed`)
  }
}

/** The name of a table as the binding takes it. */
export function nameOf(name: unknown): string | null {
  if (name === undefined) return null
  if (typeof name !== 'string') throw invalid('name', `name must be a string, not ${shown(name)}`)
  return name
}
