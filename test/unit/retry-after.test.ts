/** The field of RFC 9110 §10.2.3, in all of its forms and some that are none. */
import { expect, it } from 'vitest'
import { parseRetryAfter } from '../../ts/adapters/http/retry-after.js'

const NOW = Date.UTC(1994, 10, 6, 8, 49, 7)

it.each([
  ['0', 0],
  ['120', 120_000],
  [' 7 ', 7_000],
  ['99999999999999999999', 86_400_000],
  // RFC 9110 §5.6.7: the form to send and the two to accept.
  ['Sun, 06 Nov 1994 08:49:37 GMT', 30_000],
  ['Sunday, 06-Nov-94 08:49:37 GMT', 30_000],
  ['Sun Nov  6 08:49:37 1994', 30_000],
  ['Sun, 06 Nov 1994 08:49:00 GMT', 0],
])('%j is so many milliseconds: %i', (field, expected) => {
  expect(parseRetryAfter(field, NOW)).toBe(expected)
})

it.each([undefined, '', '-5', '1.5', '10s', 'soon', 'Sunday', 'Nov 6'])('%j says nothing', (field) => {
  expect(parseRetryAfter(field, NOW)).toBeUndefined()
})
