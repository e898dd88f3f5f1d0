/** What went wrong in the last call, as data: `lastError()` of the fallback. */
import type { ErrorData, Status } from '../contract.js'

export class Failures {
  #last: ErrorData | undefined

  /** Remembers, and returns the status. */
  set<S extends Status>(status: S, message: string, field?: string, limit?: number): S {
    this.#last = { status, message }
    if (field !== undefined) this.#last.field = field
    if (limit !== undefined) this.#last.limit = limit
    return status
  }

  toJson(): string {
    return this.#last === undefined ? '' : JSON.stringify(this.#last)
  }
}

/** False for a string with half a surrogate pair. */
export function isWellFormed(text: string): boolean {
  return (text as unknown as { isWellFormed(): boolean }).isWellFormed()
}
