/** Options of one request. */
import type { Binding } from '../binding/contract.js'
import type { RequestOptions, StreamOptions } from '../service.js'
import type { Call } from './call.js'
import {
  checkFingerprint,
  checkIdempotencyKey,
  checkInteger,
  checkKey,
  checkMetadata,
  checkRecord,
  checkSignal,
  checkTimeout,
  invalid,
} from './checks.js'
import { Guarantees } from './guarantees.js'
import { checkQos } from './qos.js'

/** Checks what a caller asks for, and notes it on the call. */
export function readOptions(call: Call, options: RequestOptions & StreamOptions, binding: Binding): void {
  checkRecord(options, 'options')
  const { timeoutMs, key, signal, metadata, idempotencyKey, idempotencyFingerprint, idempotent, retries, window, qos } =
    options
  if (timeoutMs !== undefined) call.timeoutMs = checkTimeout(timeoutMs, 'timeoutMs')
  if (key !== undefined) {
    call.key = checkKey(key)
    call.keyHash = binding.hashKey(key)
    if (call.service.ordered) {
      call.guarantees = new Guarantees()
      call.guarantees.ordered = true
    }
  }
  if (idempotencyKey !== undefined) {
    if (call.stream) throw invalid('idempotencyKey', 'a stream has no idempotency key: it is not remembered')
    call.guarantees ??= new Guarantees()
    call.guarantees.idempotencyKey = checkIdempotencyKey(idempotencyKey)
    call.idempotent = true
    if (idempotencyFingerprint !== undefined) call.guarantees.fingerprint = checkFingerprint(idempotencyFingerprint)
    // A repeat goes where the first one went.
    if (key === undefined) call.keyHash = binding.hashKey(idempotencyKey)
  } else if (idempotencyFingerprint !== undefined) throw invalid('idempotencyFingerprint', 'there is no idempotencyKey')
  if (signal !== undefined) call.signal = checkSignal(signal)
  if (metadata !== undefined) call.metadata = checkMetadata(metadata)
  if (idempotent !== undefined) {
    if (typeof idempotent !== 'boolean') throw invalid('idempotent', 'idempotent must be true or false')
    call.idempotent = idempotent
  }
  if (qos !== undefined) call.qos = checkQos(qos, 'qos')
  if (retries !== undefined) call.retries = checkInteger(retries, 'retries', 0, 100)
  if (window !== undefined) call.window = checkInteger(window, 'window', 1, 4_096)
}
