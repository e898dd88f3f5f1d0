/**
 * The edge of the fallback: where a refusal becomes a status and its details are kept for `lastError`.
 *
 * Inside, a refusal is a thrown {@link Failure}; nothing is thrown past a function of the contract. Anything else that
 * is thrown is a bug in linkmesh and becomes {@link Status.Internal} with its place, as a panic does in the addon.
 */
import { type ErrorData, Status } from '../contract.js'

/** Why a call was refused: a status and what belongs to it. Cheap to make: it has no stack. */
export class Failure {
  readonly status: Status
  readonly message: string
  readonly field: string | undefined
  readonly limit: number | undefined

  constructor(status: Status, message: string, field?: string, limit?: number) {
    this.status = status
    this.message = message
    this.field = field
    this.limit = limit
  }

  /** A table, mesh or lane handle that names nothing here. */
  static stale(what: string): Failure {
    const words = `this ${what} handle names nothing here: it was closed, or never opened in this thread`
    return new Failure(Status.StaleHandle, words, what)
  }
}

/** An argument that is wrong in itself. */
export function invalid(field: string, message: string, limit?: number): Failure {
  return new Failure(Status.InvalidArgument, message, field, limit)
}

/** An argument that is past a limit, in the unit of the field. */
export function exceeded(field: string, message: string, limit: number): Failure {
  return new Failure(Status.LimitExceeded, message, field, limit)
}

/** A whole number from 0 to `most`. */
export function whole(value: number, field: string, most: number): number {
  if (!Number.isInteger(value) || value < 0) throw invalid(field, `${field} is a whole number, not ${value}`)
  if (value > most) throw exceeded(field, `${field} is at most ${most}`, most)
  // -0 becomes 0.
  return value + 0
}

/** What a refusal inside the fallback looks like, whoever threw it. */
interface RefusalData {
  readonly status: number
  readonly message: string
  readonly field?: string | undefined
  readonly limit?: number | undefined
}

function isRefusal(thrown: unknown): thrown is RefusalData {
  return typeof thrown === 'object' && thrown !== null && typeof (thrown as RefusalData).status === 'number'
}

/** Keeps the last refusal of the thread and turns thrown ones into statuses. */
export class Edge {
  #last: ErrorData | undefined

  /** JSON of the last refusal, '' when there was none. */
  lastError(): string {
    return this.#last === undefined ? '' : JSON.stringify(this.#last)
  }

  /** Runs `work`; a refusal becomes its (negative) status. */
  number(work: () => number): number {
    try {
      return work()
    } catch (thrown) {
      return this.refuse(thrown)
    }
  }

  /** Runs `work`; a refusal becomes the empty string. */
  text(work: () => string): string {
    try {
      return work()
    } catch (thrown) {
      this.refuse(thrown)
      return ''
    }
  }

  /** Keeps what was thrown and answers with its status. */
  refuse(thrown: unknown): Status {
    this.#last = isRefusal(thrown) ? dataOf(thrown) : bugOf(thrown)
    return this.#last.status
  }
}

function dataOf({ status, message, field, limit }: RefusalData): ErrorData {
  return {
    status: status as Status,
    message,
    ...(field === undefined ? {} : { field }),
    ...(limit === undefined ? {} : { limit }),
  }
}

function bugOf(thrown: unknown): ErrorData {
  const message = thrown instanceof Error ? thrown.message : String(thrown)
  const place = thrown instanceof Error ? placeOf(thrown) : undefined
  return {
    status: Status.Internal,
    message: `${message}. This is a bug in linkmesh; please report it with the place`,
    ...(place === undefined ? {} : { place }),
  }
}

/** `file:line` of the topmost frame. */
function placeOf(error: Error): string | undefined {
  return /\(?([^\s(]+:\d+):\d+\)?$/m.exec(error.stack ?? '')?.[1]
}
