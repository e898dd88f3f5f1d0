/** `node:diagnostics_channel` events. Nothing is built unless somebody listens. */
import { channel } from 'node:diagnostics_channel'
import { Outcome, type Ticket } from '../binding/contract.js'
import type { Call } from './call.js'

/** Published after each pick of `mesh.request()`: {@link PickMessage}. */
export const PICK = channel('linkmesh:pick')
/** Published after each completion: {@link CompleteMessage}. */
export const COMPLETE = channel('linkmesh:complete')
/** Published when a circuit breaker changes its state: the `breaker` event. */
export const BREAKER = channel('linkmesh:breaker')

export interface PickMessage {
  service: string
  ticket: Ticket
  instance: number
  thread: number
  attempt: number
  key: string | undefined
}

export interface CompleteMessage {
  service: string
  ticket: Ticket
  instance: number
  attempt: number
  outcome: keyof typeof Outcome
}

const OUTCOME_NAMES = Object.fromEntries(Object.entries(Outcome).map(([name, value]) => [value, name])) as Record<
  number,
  keyof typeof Outcome
>

export function publishPick(call: Call): void {
  PICK.publish({
    service: call.service.name,
    ticket: call.ticket,
    instance: call.instance,
    thread: call.thread,
    attempt: call.attempt,
    key: call.key,
  } satisfies PickMessage)
}

export function publishComplete(call: Call, ticket: Ticket, outcome: Outcome): void {
  COMPLETE.publish({
    service: call.service.name,
    ticket,
    instance: call.instance,
    attempt: call.attempt,
    outcome: OUTCOME_NAMES[outcome] as keyof typeof Outcome,
  } satisfies CompleteMessage)
}
