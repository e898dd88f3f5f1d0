/**
 * Why an instance was picked, for whoever asks: what the pick recorded, and with a key whom it did not come to. As
 * `crates/routing/src/explanation.rs`.
 */
import type { Explanation } from '../../contract.js'
import type { Candidate } from './candidate.js'
import type { Cells } from './cells.js'
import { breakerWord, type Decision, healthWord } from './explain.js'
import type { Membership } from './membership.js'
import { rankOf } from './qos.js'
import { Selection } from './select.js'

/** Candidates of an explanation, those of a pick with a key that were not asked included. */
const EXPLAINED_CANDIDATES = 64

/** The contract's shape. `service`: its name, empty when it was removed since; `others`: {@link othersOf}. */
export function explanationOf(decision: Decision, service: string, others: Candidate[] | undefined): Explanation {
  const { trace } = decision
  const listed = others?.slice(0, EXPLAINED_CANDIDATES - trace.length) ?? []
  return {
    ticket: decision.ticket,
    service,
    atUs: decision.atUs,
    balancer: decision.balancer,
    qos: decision.qos,
    hedge: decision.hedge,
    keyHash: decision.keyHash,
    chosen: decision.chosen,
    candidates: [
      ...trace.map((candidate, index) => candidateOf(candidate, index + 1)),
      ...listed.map((candidate) => candidateOf(candidate, null)),
    ],
    rest: others === undefined ? decision.members - trace.length : others.length - listed.length,
    retryBudget: decision.retryTokens / 1_000,
  }
}

function candidateOf(candidate: Candidate, asked: number | null): Explanation['candidates'][number] {
  return {
    instance: candidate.handle,
    asked,
    filter: candidate.filter,
    score: Number.isFinite(candidate.score) ? candidate.score : null,
    inFlight: candidate.inFlight,
    latencyUs: candidate.latencyUs,
    breaker: breakerWord(candidate.breaker),
    health: healthWord(candidate.health),
  }
}

/** Members that a pick with a key did not come to, as they are now; undefined for one without, and of a service that is gone. */
export function othersOf(
  decision: Decision,
  membership: Membership | undefined,
  cells: Cells,
  nowUs: number,
): Candidate[] | undefined {
  if (membership === undefined || decision.keyHash === 0) return undefined
  const selection = new Selection(cells, membership, rankOf(decision.qos), decision.keyHash, nowUs)
  const asked = new Set(decision.trace.map(({ handle }) => handle))
  return membership.members.flatMap(({ handle }, index) => (asked.has(handle) ? [] : [selection.look(index)]))
}
