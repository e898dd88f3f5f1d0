/** `Retry-After` (RFC 9110 §10.2.3): seconds, or a date. */

/** Longer than any router honours, milliseconds: a day. */
const MOST_MS = 86_400_000
/** Of IMF-fixdate, the form that senders must use, and of the two older ones. */
const DATE = /^(Mon|Tue|Wed|Thu|Fri|Sat|Sun)/

/** What the field says, milliseconds from `nowMs` (Unix time); undefined when it says nothing that can be understood. */
export function parseRetryAfter(field: string | undefined, nowMs: number): number | undefined {
  const text = field?.trim()
  if (text === undefined || text === '') return undefined
  if (/^\d+$/.test(text)) return Math.min(Number(text) * 1_000, MOST_MS)
  if (!DATE.test(text)) return undefined
  // asctime has no zone, and means GMT.
  const atMs = Date.parse(text.endsWith('GMT') ? text : `${text} GMT`)
  return Number.isNaN(atMs) ? undefined : Math.min(Math.max(0, atMs - nowMs), MOST_MS)
}
