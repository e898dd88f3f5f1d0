/**
 * What every server thread does with a body: 64 bytes in, the same bytes out with the counter in front raised by one.
 * In place: the body is the handler's own copy with each contender.
 */

export const BODY_BYTES = 64

/** @param {Uint8Array} body */
export function echo(body) {
  write(body, read(body) + 1)
  return body
}

/** The first four bytes as a little-endian number. */
export const read = (bytes) => (bytes[0] | (bytes[1] << 8) | (bytes[2] << 16) | (bytes[3] << 24)) >>> 0

export function write(bytes, value) {
  bytes[0] = value
  bytes[1] = value >>> 8
  bytes[2] = value >>> 16
  bytes[3] = value >>> 24
}
