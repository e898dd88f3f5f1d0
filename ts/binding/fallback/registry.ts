/**
 * Services and instances of one mesh on one thread: the rules, errors, events and handles of
 * `crates/registry/src/service_registry.rs`. Every check comes before the first change.
 */
import { type EventBatch, type Handle, type InstanceInfo, Status } from '../contract.js'
import { Failure, invalid } from './edge.js'
import { type EventKind, EventLog } from './registry-events.js'
import { HandleAllocator, slotOf } from './registry-handles.js'
import { applied, checkSpec, type InstancePatch, type InstanceRecord, type ReadSpec } from './registry-instance.js'
import { checkName, checkRange, REGISTRY_LIMITS, tooMany } from './registry-validate.js'

/** One service. Never changed, but replaced, so a holder keeps what it saw. */
export interface ServiceRecord {
  readonly handle: Handle
  readonly name: string
  /** In the order of registration, dead and draining ones included. */
  readonly instances: readonly InstanceRecord[]
}

/** How much a registry takes. */
export interface RegistryLimits {
  services: number
  instances: number
  instancesPerService: number
  events: number
}

/** A handle whose slot is empty or was given to something else. */
export function staleHandle(field: string): Failure {
  const words = `${field} handle is stale or was never given out: what it named is gone`
  return new Failure(Status.StaleHandle, words, field)
}

export class FallbackRegistry {
  readonly #limits: RegistryLimits
  readonly #serviceHandles: HandleAllocator
  readonly #instanceHandles: HandleAllocator
  readonly #services = new Map<Handle, ServiceRecord>()
  readonly #byName = new Map<string, Handle>()
  readonly #instances = new Map<Handle, InstanceRecord>()
  /** Instances with a lease; ends are in the records. */
  readonly #leased = new Set<Handle>()
  /** Earliest end of a lease; undefined when it must be looked for. */
  #earliest: number | undefined
  readonly #events: EventLog
  #epoch = 0
  #namesEpoch = 0

  constructor(limits: RegistryLimits = REGISTRY_LIMITS) {
    this.#limits = limits
    this.#serviceHandles = new HandleAllocator(limits.services)
    this.#instanceHandles = new HandleAllocator(limits.instances)
    this.#events = new EventLog(limits.events)
  }

  // --- readers ------------------------------------------------------------------------------------------------------

  /** Grows with every change of services or instances, modulo 2^32; renewing a lease is none. */
  get epoch(): number {
    return this.#epoch
  }
  /** Grows when a service comes or goes, modulo 2^32. */
  get namesEpoch(): number {
    return this.#namesEpoch
  }
  get serviceCount(): number {
    return this.#services.size
  }
  get instanceCount(): number {
    return this.#instances.size
  }
  /** The log of changes. */
  get events(): EventLog {
    return this.#events
  }

  find(name: string): Handle | undefined {
    return this.#byName.get(name)
  }
  service(handle: Handle): ServiceRecord | undefined {
    return this.#services.get(handle)
  }
  instance(handle: Handle): InstanceRecord | undefined {
    return this.#instances.get(handle)
  }
  /** In no order. */
  services(): IterableIterator<ServiceRecord> {
    return this.#services.values()
  }
  servicesByName(): ServiceRecord[] {
    return [...this.#services.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
  }
  /** In slot order. */
  instances(): InstanceRecord[] {
    return [...this.#instances.values()].sort((a, b) => slotOf(a.handle) - slotOf(b.handle))
  }
  eventsSince(sequence: number): EventBatch {
    return this.#events.since(sequence)
  }

  /** When the next lease ends, microseconds. */
  nextDeadline(): number | undefined {
    if (this.#leased.size === 0) return undefined
    if (this.#earliest === undefined) {
      let earliest = Number.POSITIVE_INFINITY
      for (const handle of this.#leased) {
        const end = this.#instances.get(handle)?.leaseUntilUs
        if (end !== undefined && end < earliest) earliest = end
      }
      this.#earliest = earliest
    }
    return this.#earliest
  }

  // --- services -----------------------------------------------------------------------------------------------------

  /** The service of that name, created when there is none. */
  define(name: string, nowUs: number): { handle: Handle; created: boolean } {
    checkName('name', name)
    const known = this.#byName.get(name)
    if (known !== undefined) return { handle: known, created: false }
    const handle = this.#serviceHandles.allocate('services')
    this.#services.set(handle, { handle, name, instances: [] })
    this.#byName.set(name, handle)
    this.#namesEpoch = (this.#namesEpoch + 1) >>> 0
    this.#publish(nowUs, [{ kind: 'service-added', service: name }])
    return { handle, created: true }
  }

  /** Removes a service and its instances; returns their handles, in the order of registration. */
  removeService(service: Handle, nowUs: number): Handle[] {
    const record = this.#serviceOrStale(service)
    const events: EventKind[] = []
    for (const instance of record.instances) {
      this.#forget(instance)
      events.push(removed(instance, instance.health))
    }
    this.#byName.delete(record.name)
    this.#services.delete(service)
    this.#serviceHandles.free(service)
    this.#namesEpoch = (this.#namesEpoch + 1) >>> 0
    events.push({ kind: 'service-removed', service: record.name })
    this.#publish(nowUs, events)
    return record.instances.map((instance) => instance.handle)
  }

  // --- instances ----------------------------------------------------------------------------------------------------

  /** Registers an instance by address, or in `thread` (not 0) when it has none. It starts healthy. */
  addInstance(service: Handle, spec: ReadSpec, thread: number, nowUs: number): Handle {
    checkSpec(spec)
    const record = this.#serviceOrStale(service)
    refuseDuplicate(record, spec.address, 0)
    if (record.instances.length >= this.#limits.instancesPerService)
      throw tooMany('instances', this.#limits.instancesPerService, 'entries of one service')
    const handle = this.#instanceHandles.allocate('instances')
    const blank: InstanceRecord = {
      handle,
      service,
      serviceName: record.name,
      thread: spec.address === undefined ? thread : 0,
      address: undefined,
      weight: 1,
      zone: '',
      tags: [],
      version: '',
      metadata: new Map(),
      priority: 0,
      concurrency: undefined,
      health: 'healthy',
      leaseUntilUs: undefined,
    }
    const instance = applied(blank, spec)
    if (spec.leaseMs !== undefined) this.#extend(instance, nowUs + spec.leaseMs * 1_000)
    this.#instances.set(handle, instance)
    this.#services.set(service, { ...record, instances: [...record.instances, instance] })
    this.#publish(nowUs, [{ kind: 'instance-added', service: record.name, instance: handle, health: instance.health }])
    return handle
  }

  /** Changes what the patch names. An empty patch changes nothing and is no event. */
  updateInstance(instance: Handle, patch: InstancePatch, nowUs: number): void {
    checkSpec(patch)
    const old = this.#instanceOrStale(instance)
    if (Object.keys(patch).length === 0) return
    const service = this.#serviceOrStale(old.service)
    if (patch.address !== undefined) {
      if (old.address === undefined)
        throw invalid('address', 'address cannot be given to an instance that lives in a thread')
      refuseDuplicate(service, patch.address, instance)
    }
    const next = applied(old, patch)
    if (patch.leaseMs !== undefined) this.#extend(next, nowUs + patch.leaseMs * 1_000)
    this.#instances.set(instance, next)
    const instances = service.instances.map((known) => (known.handle === instance ? next : known))
    this.#services.set(service.handle, { ...service, instances })
    this.#publish(nowUs, [{ kind: 'instance-changed', service: service.name, instance, health: next.health }])
  }

  removeInstance(instance: Handle, nowUs: number): void {
    const record = this.#instanceOrStale(instance)
    this.#remove(record)
    this.#publish(nowUs, [removed(record, record.health)])
  }

  /** Forgets every instance of a thread that ended; returns their handles in slot order. Always an event. */
  removeThread(thread: number, nowUs: number): Handle[] {
    const records = this.instances().filter((record) => record.thread === thread && record.address === undefined)
    const events: EventKind[] = []
    for (const record of records) {
      this.#remove(record)
      events.push(removed(record, 'dead'))
    }
    events.push({ kind: 'thread-ended', thread })
    if (records.length === 0) this.recordEvent(nowUs, { kind: 'thread-ended', thread })
    else this.#publish(nowUs, events)
    return records.map((record) => record.handle)
  }

  /** Makes the lease end `leaseMs` from now; also gives one to an instance that had none. */
  renew(instance: Handle, leaseMs: number, nowUs: number): void {
    checkRange('leaseMs', leaseMs, 1, REGISTRY_LIMITS.leaseMs)
    this.#extend(this.#instanceOrStale(instance), nowUs + leaseMs * 1_000)
  }

  /** Removes every instance whose lease has ended by `nowUs`; returns their handles, earliest end first. */
  expire(nowUs: number): Handle[] {
    const deadline = this.nextDeadline()
    if (deadline === undefined || deadline > nowUs) return []
    const ended: [number, InstanceRecord][] = []
    for (const handle of this.#leased) {
      const record = this.#instances.get(handle)
      if (record?.leaseUntilUs !== undefined && record.leaseUntilUs <= nowUs) ended.push([record.leaseUntilUs, record])
    }
    ended.sort(([a, one], [b, other]) => a - b || one.handle - other.handle)
    const events: EventKind[] = []
    for (const [, record] of ended) {
      this.#remove(record)
      const { serviceName: service, handle: instance } = record
      events.push({ kind: 'lease-expired', service, instance, health: 'dead' })
    }
    this.#publish(nowUs, events)
    return ended.map(([, record]) => record.handle)
  }

  // --- events -------------------------------------------------------------------------------------------------------

  /** Adds an event of another floor (a breaker that changed). */
  recordEvent(nowUs: number, kind: EventKind): void {
    this.#events.push(nowUs, kind)
  }

  // --- inside -------------------------------------------------------------------------------------------------------

  #serviceOrStale(handle: Handle): ServiceRecord {
    const record = this.#services.get(handle)
    if (record === undefined) throw staleHandle('service')
    return record
  }

  #instanceOrStale(handle: Handle): InstanceRecord {
    const record = this.#instances.get(handle)
    if (record === undefined) throw staleHandle('instance')
    return record
  }

  #remove(instance: InstanceRecord): void {
    const service = this.#serviceOrStale(instance.service)
    const instances = service.instances.filter((known) => known.handle !== instance.handle)
    this.#services.set(service.handle, { ...service, instances })
    this.#forget(instance)
  }

  /** Everything but the service's list. */
  #forget(instance: InstanceRecord): void {
    this.#leased.delete(instance.handle)
    this.#earliest = undefined
    this.#instances.delete(instance.handle)
    this.#instanceHandles.free(instance.handle)
  }

  #extend(instance: InstanceRecord, untilUs: number): void {
    instance.leaseUntilUs = untilUs
    this.#leased.add(instance.handle)
    this.#earliest = undefined
  }

  #publish(nowUs: number, events: readonly EventKind[]): void {
    this.#epoch = (this.#epoch + 1) >>> 0
    for (const kind of events) this.#events.push(nowUs, kind)
  }
}

function removed(record: InstanceRecord, health: InstanceInfo['health']): EventKind {
  return { kind: 'instance-removed', service: record.serviceName, instance: record.handle, health }
}

function refuseDuplicate(service: ServiceRecord, address: string | undefined, except: Handle): void {
  if (address === undefined) return
  if (service.instances.some((instance) => instance.handle !== except && instance.address === address))
    throw new Failure(Status.Duplicate, 'address is registered for this service already', 'address')
}
