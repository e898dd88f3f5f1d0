/** One service of a fallback router at virtual time, for tests. */
import { expect } from 'vitest'
import type { ErrorData, InstanceInfo, MeshEvent, Outcome, Ticket } from '../../ts/binding/contract.js'
import { Outcome as Outcomes } from '../../ts/binding/contract.js'
import { Rng } from '../../ts/binding/fallback/random.js'
import { FallbackRouter, noPick } from '../../ts/binding/fallback/routing.js'

/** The caller's thread. */
export const THREAD = 1

export class VirtualMesh {
  readonly router = new FallbackRouter({ name: 'test', zone: '', seed: 7 })
  readonly service: number
  readonly rng = new Rng(7, THREAD)
  readonly picked = noPick()
  nowUs = 0

  constructor(policy: object = {}) {
    this.service = this.router.defineService('orders', JSON.stringify(policy), 0)
  }

  add(spec: object = {}, thread = THREAD): number {
    return this.router.addInstance(this.service, JSON.stringify(spec), thread, this.nowUs)
  }

  update(instance: number, patch: object): void {
    this.router.updateInstance(instance, JSON.stringify(patch), this.nowUs)
  }

  /** A ticket, or the status of the refusal. */
  pick(keyHash = 0): number {
    return this.router.pick(this.rng, this.service, keyHash, 0, THREAD, this.nowUs, this.picked)
  }

  /** A ticket. */
  mustPick(keyHash = 0): Ticket {
    const ticket = this.pick(keyHash)
    expect(ticket).toBeGreaterThan(0)
    return ticket
  }

  complete(ticket: Ticket, outcome: Outcome = Outcomes.Ok, latencyUs = 1_000): number {
    return this.router.complete(ticket, outcome, latencyUs, this.nowUs)
  }

  /** Sequential requests that end well in a millisecond, and who got how many. */
  spread(requests: number): Map<number, number> {
    const counts = new Map<number, number>()
    for (let n = 0; n < requests; n++) {
      const ticket = this.mustPick()
      counts.set(this.picked.instance, (counts.get(this.picked.instance) ?? 0) + 1)
      this.nowUs += 1_000
      this.complete(ticket)
    }
    return counts
  }

  info(instance: number): InstanceInfo {
    return JSON.parse(this.router.instanceInfoJson(instance, this.nowUs)) as InstanceInfo
  }

  events(): MeshEvent[] {
    return (JSON.parse(this.router.eventsJson(0)) as { events: MeshEvent[] }).events
  }
}

/** What `work` throws: status, field and limit of a refusal. */
export function refusal(work: () => unknown): Partial<ErrorData> {
  try {
    work()
  } catch (thrown) {
    const { status, field, limit } = thrown as ErrorData
    return { status, ...(field === undefined ? {} : { field }), ...(limit === undefined ? {} : { limit }) }
  }
  throw new Error('nothing was refused')
}
