/** Options of one request. */
import type { Binding } from '../binding/contract.js'
import type { RequestOptions, StreamOptions } from '../service.js'
import type { Call } from './call.js'
import { checkInteger, checkKey, checkMetadata, checkRecord, checkSignal, checkTimeout, invalid } from './checks.js'

/** Checks what a caller asks for, and notes it on the call. */
export function readOptions(call: Call, options: RequestOptions & StreamOptions, binding: Binding): void {
  checkRecord(options, 'options')
  const { timeoutMs, key, signal, metadata, idempotent, retries, window } = options
  if (timeoutMs !== undefined) call.timeoutMs = checkTimeout(timeoutMs, 'timeoutMs')
  if (key !== undefined) {
    call.key = checkKey(key)
    call.keyHash = binding.hashKey(key)
  }
  if (signal !== undefined) call.signal = checkSignal(signal)
  if (metadata !== undefined) call.metadata = checkMetadata(metadata)
  if (idempotent !== undefined) {
    if (typeof idempotent !== 'boolean') throw invalid('idempotent', 'idempotent must be true or false')
    call.idempotent = idempotent
  }
  if (retries !== undefined) call.retries = checkInteger(retries, 'retries', 0, 100)
  if (window !== undefined) call.window = checkInteger(window, 'window', 1, 4_096)
}
