/** Values that travel with the customer: compressed, then signed, so that a service needs no store and trusts nobody. */
import { createHmac, timingSafeEqual } from 'node:crypto'
import { deflateRawSync, inflateRawSync } from 'node:zlib'

/** An example's key; a shop would read it from its secrets. */
export const SEAL_KEY = 'storefront-example-key'
const SEALED_MAX = 4_096
const OPENED_MAX = 65_536

/** `base64url(deflate(json)).base64url(hmac)` */
export function seal(value: unknown): string {
  const packed = deflateRawSync(JSON.stringify(value)).toString('base64url')
  return `${packed}.${macOf(packed).toString('base64url')}`
}

/** The sealed value, or undefined when the text was not sealed here. */
export function unseal(text: string): unknown {
  if (text.length > SEALED_MAX) return undefined
  const [packed = '', mac = ''] = text.split('.', 2)
  const given = Buffer.from(mac, 'base64url')
  const right = macOf(packed)
  if (given.length !== right.length || !timingSafeEqual(given, right)) return undefined
  return JSON.parse(inflateRawSync(Buffer.from(packed, 'base64url'), { maxOutputLength: OPENED_MAX }).toString('utf8'))
}

function macOf(text: string): Buffer {
  return createHmac('sha256', SEAL_KEY).update(text).digest()
}
