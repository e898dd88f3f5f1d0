/** What a request asks for beyond its delivery. Requests that ask for nothing have none of it. */
import type { Handle } from '../binding/contract.js'
import type { Call } from './call.js'
import { isFingerprint } from './checks.js'

export class Guarantees {
  /** A repeat with this key has the first one's answer. */
  idempotencyKey: string | undefined = undefined
  /** What a repeat must be alike in. */
  fingerprint: string | undefined = undefined
  /** It waits for those before it with its key. */
  ordered = false
  /** Id of its turn while it has or awaits one, and the service that the turn is of. */
  turn = 0
  service: Handle = 0
  /** A message of its key that came before it was given up. */
  orderBroken = false
}

/** What a frame carries of a request besides its body. */
export interface Extras {
  key?: string
  metadata?: Record<string, string>
  idempotencyKey?: string
  fingerprint?: string
  orderBroken?: boolean
}

/** The extras of a request as text; empty when there are none. */
export function extrasOf(call: Call): string {
  const { key, metadata, guarantees } = call
  if (guarantees === undefined) {
    return key === undefined && metadata === undefined ? '' : JSON.stringify({ key, metadata })
  }
  const { idempotencyKey, fingerprint, orderBroken } = guarantees
  return JSON.stringify({ key, metadata, idempotencyKey, fingerprint, orderBroken: orderBroken || undefined })
}

/** What the serving side needs to know of them; undefined when that is nothing. */
export function guaranteesOf({ idempotencyKey, fingerprint, orderBroken }: Extras): Guarantees | undefined {
  if (idempotencyKey === undefined && orderBroken === undefined) return undefined
  const guarantees = new Guarantees()
  guarantees.idempotencyKey = idempotencyKey === undefined ? undefined : String(idempotencyKey)
  // From another node it may be anything.
  if (typeof fingerprint === 'string' && isFingerprint(fingerprint)) guarantees.fingerprint = fingerprint
  guarantees.orderBroken = orderBroken === true
  return guarantees
}
