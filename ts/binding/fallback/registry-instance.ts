/** An instance: what its owner says of it, and how it is kept. As `crates/registry/src/instance.rs`. */
import type { Handle, InstanceInfo, InstanceSpec } from '../contract.js'
import { invalid } from './edge.js'
import { Fields } from './registry-fields.js'
import {
  checkMetadata,
  checkRange,
  checkTags,
  checkVersion,
  checkWord,
  REGISTRY_LIMITS as LIMITS,
} from './registry-validate.js'

/** The contract's `InstanceSpec`, read: absent fields are undefined. */
export interface ReadSpec extends Omit<InstanceSpec, 'metadata'> {
  /** In the order of the keys. */
  metadata?: ReadonlyMap<string, string>
}

/** What changes of an instance. */
export interface InstancePatch extends ReadSpec {
  health?: InstanceInfo['health']
}

/** An instance as it is kept: never changed, but replaced. Only the lease is extended in place. */
export interface InstanceRecord {
  readonly handle: Handle
  /** Handle and name of its service. */
  readonly service: Handle
  readonly serviceName: string
  /** Thread it lives in; 0 for one by address. */
  readonly thread: number
  readonly address: string | undefined
  readonly weight: number
  readonly zone: string
  readonly tags: readonly string[]
  readonly version: string
  readonly metadata: ReadonlyMap<string, string>
  readonly priority: number
  /** Overrides the policy's; 0 = no limit. */
  readonly concurrency: number | undefined
  readonly health: InstanceInfo['health']
  /** End of the lease, microseconds. */
  leaseUntilUs: number | undefined
}

/** Figures of one instance, from whoever keeps them. */
export interface InstanceLoad {
  inFlight: number
  /** Concurrency limit in force; 0 = none. */
  limit: number
  /** Latency estimate, microseconds, a float32; 0 = not measured yet. */
  latencyUs: number
  breaker: InstanceInfo['breaker']
  picked: number
  succeeded: number
  failed: number
}

/** Asked once per considered instance. */
export type LoadSource = (instance: Handle) => InstanceLoad

/** For a registry without a router. */
export const NO_LOAD: InstanceLoad = {
  inFlight: 0,
  limit: 0,
  latencyUs: 0,
  breaker: 'closed',
  picked: 0,
  succeeded: 0,
  failed: 0,
}

const SPEC_FIELDS = ['address', 'weight', 'zone', 'tags', 'version', 'metadata', 'priority', 'concurrency', 'leaseMs']

/** From JSON of the contract's `InstanceSpec`. Checks types and ranges; the registry checks the rest. */
export function readInstanceSpec(json: string): ReadSpec {
  return readSpec(Fields.parse(json, 'spec', false, SPEC_FIELDS))
}

/** From JSON of the contract's `Partial<InstanceSpec>` and `health`. */
export function readInstancePatch(json: string): InstancePatch {
  const fields = Fields.parse(json, 'patch', false, [...SPEC_FIELDS, 'health'])
  const spec = readSpec(fields)
  const health = fields.string('health')
  if (health === undefined) return spec
  if (health !== 'healthy' && health !== 'degraded' && health !== 'draining' && health !== 'dead')
    throw invalid('health', 'health must be one of healthy, degraded, draining, dead')
  return { ...spec, health }
}

function readSpec(fields: Fields): ReadSpec {
  return withoutAbsent({
    address: fields.string('address'),
    weight: fields.integer('weight', 1, LIMITS.weight),
    zone: fields.string('zone'),
    tags: fields.strings('tags'),
    version: fields.string('version'),
    metadata: fields.stringMap('metadata'),
    priority: fields.integer('priority', 0, LIMITS.priority),
    concurrency: fields.integer('concurrency', 0, LIMITS.concurrency),
    leaseMs: fields.integer('leaseMs', 1, LIMITS.leaseMs),
  })
}

type Present<T> = { [K in keyof T]?: Exclude<T[K], undefined> }

/** Drops the fields that are undefined, so that a spread overwrites nothing. */
export function withoutAbsent<T extends object>(fields: T): Present<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Present<T>
}

/** Checks every field, in their order. */
export function checkSpec(spec: ReadSpec): void {
  if (spec.address !== undefined) checkWord('address', spec.address, 1, LIMITS.addressBytes)
  if (spec.weight !== undefined) checkRange('weight', spec.weight, 1, LIMITS.weight)
  if (spec.zone !== undefined) checkWord('zone', spec.zone, 0, LIMITS.zoneBytes)
  if (spec.tags !== undefined) checkTags('tags', spec.tags)
  if (spec.version !== undefined) checkVersion('version', spec.version)
  if (spec.metadata !== undefined) checkMetadata('metadata', spec.metadata)
  if (spec.priority !== undefined) checkRange('priority', spec.priority, 0, LIMITS.priority)
  if (spec.concurrency !== undefined) checkRange('concurrency', spec.concurrency, 0, LIMITS.concurrency)
  if (spec.leaseMs !== undefined) checkRange('leaseMs', spec.leaseMs, 1, LIMITS.leaseMs)
}

/** The record with what the patch names; the lease is the registry's. */
export function applied(record: InstanceRecord, patch: InstancePatch): InstanceRecord {
  const { leaseMs: _, tags, ...rest } = patch
  return { ...record, ...rest, ...(tags === undefined ? {} : { tags: [...new Set(tags)] }) }
}

/** The contract's `InstanceInfo`: a record with the figures of the router. */
export function instanceInfo(record: InstanceRecord, load: InstanceLoad, ejectedUntilMs: number | null): InstanceInfo {
  return {
    handle: record.handle,
    service: record.serviceName,
    address: record.address ?? null,
    thread: record.thread,
    weight: record.weight,
    zone: record.zone,
    tags: [...record.tags],
    version: record.version,
    metadata: Object.fromEntries(record.metadata),
    priority: record.priority,
    concurrency: load.limit,
    health: record.health,
    breaker: load.breaker,
    inFlight: load.inFlight,
    latencyUs: load.latencyUs,
    picked: load.picked,
    succeeded: load.succeeded,
    failed: load.failed,
    ejectedUntilMs,
    leaseUntilMs: record.leaseUntilUs === undefined ? null : record.leaseUntilUs / 1_000,
  }
}
