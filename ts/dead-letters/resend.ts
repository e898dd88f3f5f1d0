/** A letter's message, sent again like any request; its failure makes no second letter. */
import type { RedriveOutcome } from '../binding/contract-journal.js'
import type { Call } from '../mesh/call.js'
import type { Dispatcher } from '../mesh/dispatcher.js'
import { isQosClass } from '../mesh/qos.js'
import { type DeadLetter, decodeBody } from './entry.js'
import { redriveFailure } from './give-up.js'

/** Never rejects: however it ends is the redrive's outcome. */
export async function resend(dispatcher: Dispatcher, { letter }: DeadLetter): Promise<RedriveOutcome> {
  let call: Call
  try {
    const { service, key, idempotencyKey, headers, idempotent } = letter
    const options = {
      ...(key === undefined ? {} : { key }),
      ...(idempotencyKey === undefined ? {} : { idempotencyKey }),
      ...(isQosClass(letter.qos) ? { qos: letter.qos } : {}),
      metadata: headers,
      idempotent,
    }
    call = dispatcher.prepare(service, decodeBody(letter.body), options, undefined, false)
  } catch (error) {
    const reason = (error as { code?: string }).code ?? 'LM_CODEC'
    return { result: 'failed', outcome: 'not-delivered', reason, attempts: [] }
  }
  call.redriven = true
  dispatcher.launch(call)
  try {
    await call.promise
    return { result: 'delivered' }
  } catch (error) {
    return redriveFailure(call, error)
  }
}
