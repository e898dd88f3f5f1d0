/**
 * What goes over the local socket: JSON, a message a line.
 *
 * The server begins with {@link Hello}. Then a client asks, several things at once if it likes: each {@link Ask} has a
 * number of the client's, and is answered by one {@link Answer}, or by items and an end.
 */
import type { ErrorCode } from '../errors.js'

/** Version of this protocol; both sides must have the same. */
export const PROTOCOL = 1
/** Longest line from a client, bytes. */
export const MAX_ASK_BYTES = 64 << 10
/** Longest line to a client, bytes: a dump of everything. */
export const MAX_ANSWER_BYTES = 64 << 20

export interface Hello {
  linkmesh: string
  protocol: number
  mesh: string
  pid: number
  /** Data folder of the mesh, if it has one. */
  data?: string
}

export interface Ask {
  id: number
  op: string
  args?: unknown
  /** Who asks, for the audit trail. */
  by?: string
}

export interface Answer {
  id: number
  result?: unknown
  /** One of many; then more follow, or `end`. */
  item?: unknown
  end?: true
  error?: AnswerError
}

export interface AnswerError {
  code: ErrorCode
  message: string
  field?: string
  limit?: number
}

/** Cuts what comes into lines. */
export class Lines {
  readonly #most: number
  #parts: Buffer[] = []
  #bytes = 0

  /** `most`: longest line, bytes. */
  constructor(most: number) {
    this.#most = most
  }

  /** The lines that are whole now; undefined when one is too long: then nothing more can be read. */
  push(chunk: Buffer): string[] | undefined {
    const lines: string[] = []
    let from = 0
    for (;;) {
      const end = chunk.indexOf(0x0a, from)
      if (end < 0) break
      if (this.#bytes + end - from > this.#most) return undefined
      lines.push(Buffer.concat([...this.#parts, chunk.subarray(from, end)]).toString('utf8'))
      this.#parts = []
      this.#bytes = 0
      from = end + 1
    }
    this.#parts.push(chunk.subarray(from))
    this.#bytes += chunk.length - from
    return this.#bytes > this.#most ? undefined : lines
  }
}
