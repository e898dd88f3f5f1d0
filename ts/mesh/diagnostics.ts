/** `node:diagnostics_channel` events. Nothing is built unless somebody listens. */
import { channel } from 'node:diagnostics_channel'
import { Outcome, type Ticket } from '../binding/contract.js'

/** Published after each pick, by `mesh.request()` or a route: {@link PickMessage}. */
export const PICK = channel('linkmesh:pick')
/** Published after each completion: {@link CompleteMessage}. */
export const COMPLETE = channel('linkmesh:complete')
/** Published when a circuit breaker changes its state: the `breaker` event. */
export const BREAKER = channel('linkmesh:breaker')

/** Published when the queue of a service passes a watermark: the `backpressure` event. */
export const BACKPRESSURE = channel('linkmesh:backpressure')

export interface PickMessage {
  service: string
  ticket: Ticket
  instance: number
  thread: number
  /** 1 for the first attempt of a request; 0 for a route, which does not count them. */
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

export function publishPick(message: PickMessage): void {
  PICK.publish(message)
}

export function publishComplete(message: Omit<CompleteMessage, 'outcome'>, outcome: Outcome): void {
  COMPLETE.publish({ ...message, outcome: OUTCOME_NAMES[outcome] as keyof typeof Outcome } satisfies CompleteMessage)
}
