/**
 * The request target (RFC 9112 §3.2): what is refused before anything is routed.
 *
 * A path means one thing only. What a proxy before us and a service behind us could read differently (encoded
 * slashes, dot segments, backslashes, NUL) is refused and never normalised.
 */
import { HttpProblem } from './problem.js'

export interface Target {
  /** Path as it was sent, percent-encoded. */
  path: string
  /** Query without the question mark; '' when there is none. */
  query: string
}

/** Printable ASCII without space, quotes, angle brackets, backslash, caret, backtick, braces and bar. */
const TARGET = /^\/[!$%&'()*+,\-./0-9:;=?@A-Z_a-z~[\]|]*$/
const BAD_ESCAPE = /%(?![0-9A-Fa-f]{2})/
/** Encoded NUL and other controls, DEL, slash and backslash. */
const FORBIDDEN_ESCAPE = /%(?:[01][0-9A-Fa-f]|7[Ff]|2[Ff]|5[Cc])/
/** `.` and `..` as whole segments, plain or encoded. */
const DOT_SEGMENT = /(?:^|\/)(?:\.|%2[Ee]){1,2}(?:\/|$)/

/**
 * Splits and checks a request target.
 *
 * @throws HttpProblem 400 for anything but an origin-form target with an unambiguous path, 414 above `limit` bytes
 */
export function parseTarget(target: string, limit: number): Target {
  if (target.length > limit)
    throw new HttpProblem(414, 'LM_LIMIT_EXCEEDED', `The request target has ${target.length} bytes`, {
      field: 'target',
      limit,
    })
  if (!target.startsWith('/'))
    throw refuse('is not a path; absolute and authority forms are for proxies, and this is none')
  if (!TARGET.test(target)) throw refuse('holds a character that must be percent-encoded')
  const mark = target.indexOf('?')
  const path = mark < 0 ? target : target.slice(0, mark)
  const query = mark < 0 ? '' : target.slice(mark + 1)
  if (BAD_ESCAPE.test(target)) throw refuse('holds a % that begins no escape')
  if (FORBIDDEN_ESCAPE.test(path)) throw refuse('holds an encoded slash, backslash or control character')
  if (DOT_SEGMENT.test(path)) throw refuse('holds a dot segment')
  if (path.includes('//')) throw refuse('holds an empty segment')
  return { path, query }
}

/**
 * Percent-decodes a captured part of a path.
 *
 * @throws HttpProblem 400 when the bytes are not UTF-8
 */
export function decodePart(part: string): string {
  if (!part.includes('%')) return part
  try {
    return decodeURIComponent(part)
  } catch {
    throw refuse('is not UTF-8 once decoded')
  }
}

/**
 * The query as an object without prototype; a name that comes twice gives a list.
 *
 * @throws HttpProblem 400 above {@link QUERY_FIELDS_MAX} fields
 */
export function parseQuery(query: string): Record<string, string | string[]> {
  const fields: Record<string, string | string[]> = Object.create(null)
  if (query === '') return fields
  let count = 0
  for (const [name, value] of new URLSearchParams(query)) {
    if (++count > QUERY_FIELDS_MAX)
      throw new HttpProblem(400, 'LM_LIMIT_EXCEEDED', 'Too many query fields', {
        field: 'query',
        limit: QUERY_FIELDS_MAX,
      })
    // A body is handed on as a plain object: a field of this name would be its prototype.
    if (name === '__proto__')
      throw new HttpProblem(400, 'LM_INVALID_ARGUMENT', '__proto__ is no field name', { field: 'query' })
    const earlier = fields[name]
    if (earlier === undefined) fields[name] = value
    else if (Array.isArray(earlier)) earlier.push(value)
    else fields[name] = [earlier, value]
  }
  return fields
}
export const QUERY_FIELDS_MAX = 256

function refuse(why: string): HttpProblem {
  return new HttpProblem(400, 'LM_INVALID_ARGUMENT', `The request target ${why}`, { field: 'target' })
}
