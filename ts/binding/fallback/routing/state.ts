/**
 * What the router holds, and what all of its parts need of it. As the fields of `Router` in
 * `crates/routing/src/router.rs`, without what lets threads share them.
 */
import { type Handle, HeaderWord, InstanceWord as Word } from '../../contract.js'
import { FallbackDiscovery } from '../discovery.js'
import { Rng } from '../random.js'
import { FallbackRegistry } from '../registry.js'
import { FallbackConnections } from '../registry-connections.js'
import { type InstanceLoad, NO_LOAD } from '../registry-instance.js'
import type { Transition } from './breaker.js'
import { Cells } from './cells.js'
import { breakerWord, Explained } from './explain.js'
import { KeyOrder } from './key-order.js'
import type { ServiceLedger } from './ledger.js'
import type { Membership } from './membership.js'
import { Tickets } from './ticket.js'
import { Waits } from './waits.js'

/** Changes that may wait for the event log between two looks at it; more are dropped and counted. */
const PENDING_CHANGES = 4_096
/** The queue's own stream of random numbers: no thread has this number. */
const QUEUE_STREAM = 2 ** 32 - 1
/** Words of the header; the contract names the first. */
const HEADER_WORDS = 16

/** How a router is made. */
export interface RouterOptions {
  /** Name of the mesh. */
  readonly name: string
  /** Zone of this process, for ranking; empty = none. */
  readonly zone: string
  /** Seed of every random choice that no caller's generator makes. */
  readonly seed: number
}

/** Something changed on a message's way and the event log does not know yet. */
interface Change {
  readonly atUs: number
  readonly service: Handle
  readonly what:
    | { readonly kind: 'breaker'; readonly instance: Handle; readonly transition: Transition }
    | { readonly kind: 'backpressure'; readonly level: 'high' | 'low'; readonly queued: number; readonly limit: number }
}

export class RouterState {
  readonly options: RouterOptions
  readonly registry = new FallbackRegistry()
  readonly connections = new FallbackConnections()
  readonly discovery = new FallbackDiscovery(this.registry)
  /** Of live services. */
  readonly memberships = new Map<Handle, Membership>()
  readonly cells = new Cells()
  readonly header = new Uint32Array(HEADER_WORDS)
  readonly tickets = new Tickets()
  readonly explained = new Explained()
  readonly waits: Waits
  readonly keyOrder = new KeyOrder()
  /** Of services that were asked with idempotency keys. */
  readonly ledgers = new Map<Handle, ServiceLedger>()
  /** Changes that the event log missed. */
  changesLost = 0
  /** Shortest ticket lease of any policy so far, microseconds. */
  shortestLeaseUs = Number.POSITIVE_INFINITY
  /** When open tickets are looked through next, microseconds. */
  nextSweepUs = Number.POSITIVE_INFINITY
  #changes: Change[] = []
  #parked = 0

  constructor(options: RouterOptions) {
    this.options = options
    this.waits = new Waits(new Rng(options.seed, QUEUE_STREAM))
  }

  /** Names something that waits and is no wait for a place: 31 bits, never 0. */
  nextParkedId(): number {
    this.#parked = (this.#parked % 0x7ffffffe) + 1
    return this.#parked
  }

  /** Figures of an instance, all zero when it is not there. */
  readonly load = (instance: Handle): InstanceLoad => {
    const { cells } = this
    if (instance === 0 || !cells.is(instance)) return NO_LOAD
    return {
      inFlight: cells.get(instance, Word.InFlight),
      limit: cells.get(instance, Word.Limit),
      latencyUs: cells.latencyUs(instance),
      breaker: breakerWord(cells.breaker(instance)),
      picked: cells.picked(instance),
      succeeded: cells.get(instance, Word.Succeeded),
      failed: cells.get(instance, Word.Failed),
    }
  }

  /** Notes a breaker's change for the event log and the view. */
  breakerChanged(service: Handle, instance: Handle, transition: Transition, atUs: number): void {
    this.cells.showBreaker(instance, transition.to)
    this.note({ atUs, service, what: { kind: 'breaker', instance, transition } })
  }

  /** For the event log. */
  note(change: Change): void {
    if (this.#changes.length === PENDING_CHANGES) this.changesLost += 1
    else this.#changes.push(change)
  }

  /** Moves changes into the event log, before anything else is logged: the order is the order of events. */
  logChanges(): void {
    const changes = this.#changes
    this.#changes = []
    for (const { atUs, service, what } of changes) {
      const name = this.registry.service(service)?.name
      // A service that is gone has no breakers and no queue any more.
      if (name === undefined) continue
      if (what.kind === 'backpressure') {
        const { kind, level, queued, limit } = what
        this.registry.recordEvent(atUs, { kind, service: name, level, queued, limit })
        continue
      }
      const { kind, instance, transition } = what
      const change = { from: breakerWord(transition.from), to: breakerWord(transition.to) }
      this.registry.recordEvent(atUs, { kind, service: name, instance, ...change })
    }
  }

  /** Brings the header to what the registry says. */
  showRegistry(): void {
    this.header[HeaderWord.Services] = this.registry.serviceCount
    this.header[HeaderWord.Instances] = this.registry.instanceCount
    this.header[HeaderWord.RegistryEpoch] = this.registry.epoch
  }
}
