/**
 * What the registry is told and tells: instances, services, connections, threads, discovery, events, recorded picks and
 * explanations, as JSON. Part of the `Binding`.
 */
import type { Handle, Ticket } from './contract.js'
import type { Balancer, Policy, QosClass } from './contract-policy.js'

export interface InstanceSpec {
  /** `http://10.0.0.7:8080`, `quic://…`; omitted for an instance in this thread. */
  address?: string
  /** 1 to 1,000; default 1. */
  weight?: number
  zone?: string
  tags?: string[]
  /** Semantic version. */
  version?: string
  metadata?: Record<string, string>
  /** 0 to 15, lower is used first; default 0. */
  priority?: number
  /** Overrides the policy's concurrency for this instance. */
  concurrency?: number
  /** The instance dies unless renewed within this time; default none. */
  leaseMs?: number
}

export interface InstanceInfo {
  handle: Handle
  service: string
  address: string | null
  /** 0 for an instance by address. */
  thread: number
  weight: number
  zone: string
  tags: string[]
  version: string
  metadata: Record<string, string>
  priority: number
  concurrency: number
  health: 'healthy' | 'degraded' | 'draining' | 'dead'
  breaker: 'closed' | 'open' | 'half-open'
  inFlight: number
  latencyUs: number
  picked: number
  succeeded: number
  failed: number
  /** Until when outlier detection or an operator keeps it out, on the mesh's clock; null: nobody does. */
  ejectedUntilMs: number | null
  leaseUntilMs: number | null
}

export interface ServiceInfo {
  handle: Handle
  name: string
  policy: Required<Policy>
  instances: InstanceInfo[]
  /** Requests waiting for a free slot. */
  queued: number
  /** Requests refused for want of room, by class; classes of which none was are left out. */
  shed: Partial<Record<QosClass, number>>
  retries: number
  hedges: number
  latency: { count: number; p50Us: number; p90Us: number; p99Us: number; p999Us: number }
}

/** A thread of the mesh. */
export interface ThreadInfo {
  id: number
  alive: boolean
  /** Its event loop does not turn; its instances are passed over while others are eligible. */
  blocked: boolean
  /** How late its event loop is, microseconds: what a request waits there before it is seen. */
  lagUs: number
  /** Share of recent time in which it was at work for more than half a millisecond on end, 0 to 1. */
  utilisation: number
}

export interface ConnectionSpec {
  /** `http`, `quic`, `worker`. */
  protocol: string
  remote: string
  service?: string
  metadata?: Record<string, string>
}
export interface ConnectionInfo extends ConnectionSpec {
  handle: Handle
  state: 'connecting' | 'open' | 'closing' | 'closed'
  openedMs: number
  requests: number
  bytesIn: number
  bytesOut: number
}

export interface DiscoveryQuery {
  name?: string
  prefix?: string
  fuzzy?: string
  tags?: { all?: string[]; any?: string[]; none?: string[] }
  /** Default 20, at most 1,000. */
  limit?: number
  deadlineMs?: number
  /** Zone of the caller; default the mesh's. */
  zone?: string
}
export interface DiscoveryResult {
  complete: boolean
  /** From the result cache. */
  cached: boolean
  results: {
    service: string
    score: number
    /** Each part in 0..1 before its weight. */
    why: {
      match: number
      health: number
      load: number
      latency: number
      zone: number
      kind: 'exact' | 'prefix' | 'fuzzy' | 'tags' | 'all'
    }
  }[]
}

export type MeshEvent =
  | { sequence: number; atUs: number; kind: 'service-added' | 'service-removed'; service: string }
  | {
      sequence: number
      atUs: number
      kind: 'instance-added' | 'instance-removed' | 'instance-changed' | 'lease-expired'
      service: string
      instance: Handle
      health: InstanceInfo['health']
    }
  | {
      sequence: number
      atUs: number
      kind: 'breaker'
      service: string
      instance: Handle
      from: InstanceInfo['breaker']
      to: InstanceInfo['breaker']
    }
  | {
      sequence: number
      atUs: number
      /** The queue of the service passed a watermark. */
      kind: 'backpressure'
      service: string
      level: 'high' | 'low'
      queued: number
      limit: number
    }
  | { sequence: number; atUs: number; kind: 'thread-ended'; thread: number }
  | { sequence: number; atUs: number; kind: 'loop'; thread: number; blocked: boolean; lagUs: number }
export interface EventBatch {
  /** Sequence of the newest event there is. */
  last: number
  /** True when events before the first one returned were dropped. */
  gap: boolean
  events: MeshEvent[]
}

/** One of the latest picks, by any thread. */
export interface RecordedPick {
  service: string
  atUs: number
  /** 0: no affinity. */
  keyHash: number
  instance: Handle
}

/** Why an instance was picked, as things were at the pick. */
export interface Explanation {
  ticket: Ticket
  service: string
  atUs: number
  balancer: Balancer
  qos: QosClass
  /** The request was with another instance already, and was sent to this one, too. */
  hedge: boolean
  keyHash: number
  chosen: Handle
  /** Those that the pick looked at, in that order, 16 at most. With a key then the other members, 64 in all. */
  candidates: {
    instance: Handle
    /** 1 for the first that was looked at, and so on: as it was at the pick. null: the pick did not come to it, and it is as it is now. */
    asked: number | null
    /** Why it could not be chosen, or null. */
    filter:
      | 'dead'
      | 'draining'
      | 'breaker-open'
      | 'probe-taken'
      | 'at-limit'
      | 'rejected-recently'
      | 'ejected'
      | 'blocked'
      | null
    /** Lower is better; null when the balancer did not score it. */
    score: number | null
    inFlight: number
    latencyUs: number
    breaker: InstanceInfo['breaker']
    health: InstanceInfo['health']
  }[]
  /** Members that are not among `candidates`: beyond those bounds, or, without a key, not looked at. */
  rest: number
  retryBudget: number
}
