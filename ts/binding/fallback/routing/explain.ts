/** The last 1,024 picks of each caller, as they happened. As `crates/routing/src/explain.rs`. */
import type { Balancer, Breaker, Handle, Health, InstanceInfo, QosClass, Ticket } from '../../contract.js'
import type { Rng } from '../random.js'
import type { Candidate } from './candidate.js'

/** Entries of a ring: the picks that are remembered, and one for the pick under way. */
const ENTRIES = 1_024 + 1

const HEALTH_WORDS: readonly InstanceInfo['health'][] = ['healthy', 'degraded', 'draining', 'dead']
const BREAKER_WORDS: readonly InstanceInfo['breaker'][] = ['closed', 'open', 'half-open']

export function breakerWord(breaker: Breaker): InstanceInfo['breaker'] {
  return BREAKER_WORDS[breaker] as InstanceInfo['breaker']
}

export function healthWord(health: Health): InstanceInfo['health'] {
  return HEALTH_WORDS[health] as InstanceInfo['health']
}

export function healthCode(health: InstanceInfo['health']): Health {
  return HEALTH_WORDS.indexOf(health) as Health
}

/** A pick as it was. */
export interface Decision {
  readonly ticket: Ticket
  readonly service: Handle
  readonly keyHash: number
  readonly chosen: Handle
  readonly balancer: Balancer
  readonly qos: QosClass
  readonly hedge: boolean
  readonly atUs: number
  /** Thousandths. */
  readonly retryTokens: number
  /** Members there were. */
  readonly members: number
  readonly trace: readonly Candidate[]
}

/** The newest decisions of one caller. */
export class ExplainRing {
  readonly #decisions: (Decision | undefined)[] = []
  #next = 0

  /** A pick begins: what its entry held is forgotten. */
  begin(): void {
    this.#decisions[this.#next] = undefined
  }

  record(decision: Decision): void {
    this.#decisions[this.#next] = decision
    this.#next = (this.#next + 1) % ENTRIES
  }

  /** Those that are remembered, oldest first. */
  recorded(): Decision[] {
    const picks = this.#decisions.filter((decision) => decision !== undefined)
    return picks.sort((a, b) => a.atUs - b.atUs).slice(1 - ENTRIES)
  }

  /** The pick that gave a ticket. Looks at every entry: cold. */
  find(ticket: Ticket): Decision | undefined {
    return this.#decisions.find((decision) => decision?.ticket === ticket)
  }
}

/** The newest decisions of every caller; a caller is known by its random numbers: the thread, and the queue. */
export class Explained {
  readonly #rings = new Map<Rng, ExplainRing>()

  of(caller: Rng): ExplainRing {
    let ring = this.#rings.get(caller)
    if (ring === undefined) {
      ring = new ExplainRing()
      this.#rings.set(caller, ring)
    }
    return ring
  }

  /** Of all callers, oldest first. */
  recorded(): Decision[] {
    return [...this.#rings.values()].flatMap((ring) => ring.recorded()).sort((a, b) => a.atUs - b.atUs)
  }

  find(ticket: Ticket): Decision | undefined {
    for (const ring of this.#rings.values()) {
      const found = ring.find(ticket)
      if (found !== undefined) return found
    }
    return undefined
  }
}
