/** From a request that was given up to its letter. Only failures come here. */
import { Outcome } from '../binding/contract.js'
import type { RedriveOutcome } from '../binding/contract-journal.js'
import { type DeliveryOutcome, LinkmeshError } from '../errors.js'
import type { Call } from '../mesh/call.js'
import { nowMs } from '../mesh/clock.js'
import type { Core } from '../mesh/core.js'
import { failureOf } from '../mesh/outcomes.js'
import { qosWord } from '../mesh/qos.js'
import { fieldOf, wordsOf } from '../mesh/thrown.js'
import { encodeBody, type StoredLetter } from './entry.js'

/** Attempts that a letter remembers of one request. */
const MAX_ATTEMPTS = 64
const MAX_MESSAGE = 1_024

/** Remembers a failed attempt of a call. */
export function noteAttempt(core: Core, call: Call, error: unknown): void {
  call.attempts ??= []
  if (call.attempts.length === MAX_ATTEMPTS) call.attempts.shift()
  call.attempts.push({
    instance: call.instance === 0 ? '' : nameOf(core, call.instance),
    atMs: Date.now(),
    code: codeOfError(error),
    message: messageOf(error),
    latencyUs: call.pickedAtMs === 0 ? 0 : Math.round((nowMs() - call.pickedAtMs) * 1_000),
  })
}

/** What the letter says of a call that ended with `error`; undefined when it is no matter for the dead letters. */
export function letterOf(call: Call, error: unknown): StoredLetter | undefined {
  if (call.slotOnly || call.stream || !isGivenUp(error)) return undefined
  const atMs = Date.now()
  let body: StoredLetter['body']
  try {
    body = encodeBody(call.body)
  } catch {
    // What has no JSON form cannot be sent again; that it died is still worth knowing.
    body = { encoding: 'none', data: '' }
  }
  return {
    service: call.service.name,
    ...(call.key === undefined ? {} : { key: call.key }),
    ...(call.guarantees?.idempotencyKey === undefined ? {} : { idempotencyKey: call.guarantees.idempotencyKey }),
    qos: qosWord(call.qos) ?? call.service.qosClass,
    outcome: outcomeOf(error),
    reason: codeOfError(error),
    message: messageOf(error),
    body,
    headers: { ...call.metadata },
    attempts: call.attempts ?? [],
    firstDeathMs: call.attempts?.[0]?.atMs ?? atMs,
    lastDeathMs: atMs,
    idempotent: call.idempotent,
    breaksOrder: call.key !== undefined,
  }
}

/** How a redrive that ended with `error` is recorded. */
export function redriveFailure(call: Call, error: unknown): RedriveOutcome {
  return { result: 'failed', outcome: outcomeOf(error), reason: codeOfError(error), attempts: call.attempts ?? [] }
}

/** The caller gave up by itself, or the request was wrong: sending it again would not help. */
export function isGivenUp(error: unknown): boolean {
  if (error instanceof LinkmeshError && error.code === 'LM_CLOSED') return false
  const outcome = failureOf(error)
  return outcome !== Outcome.Ok && outcome !== Outcome.Cancelled
}

function outcomeOf(error: unknown): DeliveryOutcome {
  // An error of the application's own came out of a handler.
  return error instanceof LinkmeshError ? error.outcome : 'delivered'
}

function codeOfError(error: unknown): string {
  const code = fieldOf(error, 'code')
  if (typeof code === 'string' && code !== '' && code.length <= 256) {
    const own =
      error instanceof LinkmeshError && code === 'LM_REMOTE' ? (error as { remoteCode?: unknown }).remoteCode : code
    return typeof own === 'string' && own !== '' && own.length <= 256 ? own : code
  }
  const name = error instanceof Error ? fieldOf(error, 'name') : ''
  return typeof name === 'string' && name !== '' ? name.slice(0, 256) : 'Error'
}

function messageOf(error: unknown): string {
  return wordsOf(error).slice(0, MAX_MESSAGE)
}

/** As people call it: its address, or its thread. */
function nameOf(core: Core, instance: number): string {
  const text = core.binding.instanceInfo(core.handle, instance)
  if (text === '') return `#${instance}`
  const { address, thread, metadata } = JSON.parse(text) as {
    address: string | null
    thread: number
    metadata: Record<string, string>
  }
  return metadata.instance ?? address ?? `thread ${thread} #${instance}`
}
