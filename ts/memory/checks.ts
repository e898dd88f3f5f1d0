/** Arguments of memory operations, refused before anything leaves this thread. */
import { LinkmeshError } from '../errors.js'
import { invalid, shown } from '../mesh/checks.js'

const MAX_U64 = (1n << 64n) - 1n
const RIGHTS = new Set(['r', 'w', 'a', 'rw', 'ra', 'wa', 'rwa'])
const NODE_ID = /^[0-9a-f]{64}$/

export function checkOffset(value: unknown, field = 'offset'): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0)
    throw invalid(field, `${field} must be a whole number of bytes from 0, not ${shown(value)}`, 0)
  return value
}

/** Where an atomic works: a multiple of 8. */
export function checkWord(value: unknown, field = 'offset'): number {
  const offset = checkOffset(value, field)
  if (offset % 8 !== 0) throw invalid(field, `${field} ${offset} is not a multiple of 8, as an atomic needs`, 8)
  return offset
}

export function checkLength(value: unknown, most: number, field = 'length'): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 1)
    throw invalid(field, `${field} must be a whole number of bytes from 1, not ${shown(value)}`, 1)
  if (value > most)
    throw new LinkmeshError('LM_LIMIT_EXCEEDED', `${field} is ${value} bytes; ${most} are allowed here`, {
      field,
      limit: most,
    })
  return value
}

/** Bytes to write: any view on memory that is there. */
export function checkBody(value: unknown, most: number, field = 'bytes'): Uint8Array {
  const bytes = viewOf(value, field)
  checkLength(bytes.length, most, field)
  return bytes
}

/** Where a read goes: at least `length` bytes, of which the first ones are filled. */
export function checkTarget(value: unknown, length: number, field = 'target'): Uint8Array {
  const target = viewOf(value, field)
  if (target.length < length) throw invalid(field, `${field} has ${target.length} bytes; ${length} are read`, length)
  return target.length === length ? target : target.subarray(0, length)
}

function viewOf(value: unknown, field: string): Uint8Array {
  if (value instanceof Uint8Array) {
    // A detached view and an empty one look alike; the length check speaks of neither memory nor transfer.
    // `length` is a load to V8, `byteLength` a call.
    if (value.length === 0 && isDetached(value.buffer))
      throw invalid(field, `the memory of ${field} is detached: it was transferred to another thread`)
    return value
  }
  if (ArrayBuffer.isView(value)) return viewOf(new Uint8Array(value.buffer, value.byteOffset, value.byteLength), field)
  if (value instanceof ArrayBuffer || value instanceof SharedArrayBuffer) return viewOf(new Uint8Array(value), field)
  throw invalid(field, `${field} must be a Uint8Array or another view on memory, not ${shown(value)}`)
}

/** True when the memory has gone elsewhere. Works on runtimes without `ArrayBuffer.prototype.detached`. */
export function isDetached(buffer: ArrayBufferLike): boolean {
  if (buffer instanceof SharedArrayBuffer || buffer.byteLength > 0) return false
  try {
    new Uint8Array(buffer)
    return false
  } catch {
    return true
  }
}

export function checkOperand(value: unknown, field: string): bigint {
  if (typeof value !== 'bigint') throw invalid(field, `${field} must be a bigint such as 1n, not ${shown(value)}`)
  if (value < -(1n << 63n) || value > MAX_U64) throw invalid(field, `${field} must fit into 64 bits`, 64)
  return BigInt.asUintN(64, value)
}

export function checkRights(value: unknown, field: string): string {
  if (typeof value !== 'string' || !RIGHTS.has(value))
    throw invalid(field, `${field} must be some of r, w and a in this order, such as 'rwa', not ${shown(value)}`)
  return value
}

export function checkNodeId(value: unknown, field: string): string {
  if (typeof value !== 'string' || !NODE_ID.test(value))
    throw invalid(field, `${field} must be a node id of 64 hexadecimal digits (mesh.nodeId), not ${shown(value)}`)
  return value
}
