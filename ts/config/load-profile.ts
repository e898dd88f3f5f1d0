/** What drives a load run: which requests are sent, and how each reply is checked. */

/** One line of an access log in the common or combined format. */
export interface LogEntry {
  method: string
  /** Request target as it stands in the log: path and query. */
  target: string
  /** Seconds since 1970, from the log's own time stamp. */
  timeSeconds: number
  status: number
  userAgent: string
}

/** A request of the generator. */
export interface LoadRequest {
  method: string
  /** Path and query, already encoded. */
  target: string
  headers?: Record<string, string>
  body?: string
  /** True when sending it again does no harm: then a failed answer counts as lost. Default: GET, HEAD and OPTIONS. */
  retriable?: boolean
}

/** What came back. */
export interface LoadReply {
  status: number
  headers: Record<string, string | string[] | undefined>
  body: Uint8Array
}

/** Uniform numbers in [0, 1), seeded. */
export type Random = () => number

/**
 * The requests of a run and what their replies must be.
 *
 * `expected` is computed from the request alone, by other code than the services run; `digest` reduces a
 * reply to what is compared. Both run in the generator's thread.
 */
export interface LoadProfile {
  /** Next request of the seeded mix. */
  next(random: Random): LoadRequest
  /** Maps a log line on a request; null skips the line (counted). Deterministic. */
  fromLog?(entry: LogEntry): LoadRequest | null
  /** Digest that a right reply has. */
  expected(request: LoadRequest): string
  /** Digest of a reply. */
  digest(request: LoadRequest, reply: LoadReply): string
}

/** Throws `TypeError` unless `exported` has the functions of a {@link LoadProfile}. */
export function readLoadProfile(exported: unknown, source: string): LoadProfile {
  const profile = exported as Partial<Record<keyof LoadProfile, unknown>> | null | undefined
  for (const field of ['next', 'expected', 'digest'] as const)
    if (typeof profile?.[field] !== 'function')
      throw new TypeError(`${source}: a load profile needs the function ${field}; write export default defineLoad({…})`)
  return profile as LoadProfile
}
