/**
 * What a service may be told about its balancing, limits and resilience: the JSON that policies are handed over as.
 * Part of the `Binding`.
 */

/** How an instance is chosen among those that may be picked. */
export type Balancer =
  | 'round-robin'
  | 'weighted'
  | 'least-request'
  | 'peak-ewma'
  | 'random'
  | 'adaptive'
  | 'consistent-hash'
  | 'maglev'
  | 'rendezvous'

/** Which instances come first, and how the balancers look at them. */
export interface BalancingPolicy {
  /** `least-request` and `peak-ewma` look at all instances instead of two; default false. */
  fullScan?: boolean
  /** Bounded loads for keys: an instance takes at most this percentage of the mean load; 100 to 1,000, default 0 = no bound. */
  hashBalanceFactor?: number
  /** A new or recovered instance has its full share after this, milliseconds, at first a tenth; default 0. Not for keys. */
  slowStartMs?: number
  /** When fewer than this share of a tier are healthy, breakers and ejections are ignored; 0 to 1, default 0. */
  panicThreshold?: number
  /** Instances in the zone of this process first; default false. */
  zoneFirst?: boolean
  /** A tier keeps all of its load down to 1 / this share of healthy instances; 1 to 10, default 1.4. */
  overprovisioning?: number
  /** Instances that have all of these tags first, or alone; at most 8, default none. */
  subset?: string[]
  /** What becomes of requests that the subset cannot take: `any` other instance has them (default), or `none`. */
  subsetFallback?: 'any' | 'none'
}

/**
 * Class of service of a request: `best-effort` is shed first and served last; `high-throughput` is much work that may
 * wait; `low-latency` goes early and may be hedged; `high-reliability` is shed late; `critical` goes first, is shed last
 * and may be hedged.
 */
export type QosClass = 'best-effort' | 'high-throughput' | 'low-latency' | 'high-reliability' | 'critical'

/** Classes of a service's requests. */
export interface QosPolicy {
  /** Of requests that name none; default `best-effort`. */
  class?: QosClass
  /**
   * A class is let in while fewer requests than this share of its concurrency limit are in flight on an instance,
   * whatever their class: the rest is kept for the other classes. 0.001 to 1, default 1.
   */
  shares?: Partial<Record<QosClass, number>>
}

/** When the queue says that it fills, and that it is empty enough again: shares of `queueLimit`. */
export interface WatermarkPolicy {
  /** 0.001 to 1, default 0.8. */
  high?: number
  /** 0 to `high`, default 0.5. */
  low?: number
}

/** When a slow `low-latency` or `critical` request that may be repeated is sent to a second instance, too. */
export interface HedgePolicy {
  /** Default false. */
  enabled?: boolean
  /** Hedges per request, 0 to 1, default 0.05. */
  budget?: number
  /** Latencies that must be known before their 95th percentile is believed; 10 to 1,000,000, default 100. */
  minSamples?: number
}

/**
 * What becomes of a request when every instance is at its limit. `reject`: it is refused at once. Else it waits, and when
 * the queue is full: `delay`: it is refused; `drop-oldest`: the one of the lowest class, not above its own, that waits
 * longest is; `shed-lowest`: the newest of the lowest class is, if that is below its own.
 */
export type Backpressure = 'reject' | 'delay' | 'drop-oldest' | 'shed-lowest'

/**
 * Which requests come one after the other: none, or those with one key. The next of a key begins when the one before has
 * its answer, retries included. At most `queueLimit` wait with one key.
 */
export type Ordering = 'none' | 'key'

/** What is remembered of requests with an idempotency key, by each process that serves. */
export interface IdempotencyPolicy {
  /** A result is remembered for this long, milliseconds; default 300,000. */
  ttlMs?: number
  /** Keys that are remembered; default 10,000. The oldest result makes room. */
  maxEntries?: number
  /** Bytes of all results and their keys; default 16 MiB. The oldest result makes room. */
  maxBytes?: number
}

/** How many requests are let through: token buckets. */
export interface RateLimitPolicy {
  /** Requests a second to the service; default 0 = no limit. */
  perSecond?: number
  /** Requests at once after a pause; default 0 = `perSecond`. */
  burst?: number
  /** Requests a second with one key; default 0 = no limit. */
  keyPerSecond?: number
  /** Requests with one key at once after a pause; default 0 = `keyPerSecond`. */
  keyBurst?: number
}

/** Concurrency limits that follow latency: each instance's moves between `min` and `max`, whatever `concurrency` says. */
export interface AdaptiveConcurrencyPolicy {
  /** Default false. */
  enabled?: boolean
  /** Default 4 and 1,000. */
  min?: number
  max?: number
  /** Of a new instance; default 20. */
  initial?: number
  /** Latency up to this multiple of the base is no sign of queueing; default 1.5. */
  tolerance?: number
  /** Latency is averaged over this, milliseconds; default 100. */
  windowMs?: number
}

/** When an instance that differs from its peers is kept out for a while. */
export interface OutlierPolicy {
  /** Default false. */
  enabled?: boolean
  /** Peers are compared this often, milliseconds; default 1,000. */
  intervalMs?: number
  /** Kept out after this many failures in a row; default 5, 0 = off. */
  consecutiveFailures?: number
  /** Only instances with at least this many requests in the interval are compared; default 20. */
  minRequests?: number
  /** Only services with at least this many such instances; default 3. */
  minInstances?: number
  /** Kept out when its success rate is this many standard deviations below the mean; default 1.9, 0 = off. */
  successRateDeviations?: number
  /** Kept out when this share of its requests failed; default 0.85, 0 = off. */
  failureRate?: number
  /** Kept out when its latency is this many times the median of its peers; default 0 = off. */
  latencyFactor?: number
  /** First time out, milliseconds; each further one is longer by as much, up to `maxEjectionMs`; default 5,000 and 300,000. */
  ejectionMs?: number
  maxEjectionMs?: number
  /** At most this share of the instances is out, one at least; default 0.3. */
  maxEjected?: number
}

/** Per service. Every field has a default; see `crates/routing`. */
export interface Policy {
  /** Default `least-request`. */
  balancer?: Balancer
  balancing?: BalancingPolicy
  /** Default deadline of a request, milliseconds; default 5,000. */
  timeoutMs?: number
  /** Requests in flight per instance; default 256, 0 = no limit. */
  concurrency?: number
  /** Requests that may wait for the service when every instance is at its limit; default 1,024. */
  queueLimit?: number
  /** Default `delay`. */
  backpressure?: Backpressure
  watermarks?: WatermarkPolicy
  qos?: QosPolicy
  hedge?: HedgePolicy
  rateLimit?: RateLimitPolicy
  adaptiveConcurrency?: AdaptiveConcurrencyPolicy
  outlier?: OutlierPolicy
  breaker?: {
    /** Default true. */
    enabled?: boolean
    /** Opens after this many failures in a row; default 5, 0 = off. */
    consecutiveFailures?: number
    /** Opens when this share of the window failed; default 0.5. */
    errorRate?: number
    /** The rates count only with at least this many requests in the window; default 20. */
    minRequests?: number
    /** A good answer that takes this long is slow, milliseconds; default 0 = none is. */
    slowCallMs?: number
    /** Opens when this share of the good answers in the window was slow; default 0.5. */
    slowCallRate?: number
    /** Sliding window, milliseconds; default 10,000. */
    windowMs?: number
    /** First open time, milliseconds; doubles up to `maxOpenMs` while probes fail; default 1,000 and 30,000. */
    openMs?: number
    maxOpenMs?: number
    /** Successful probes that close it, and probes allowed at once; default 3 and 1. */
    probes?: number
    concurrentProbes?: number
    /** A probe that was never completed frees its place after this, milliseconds; default 10,000. */
    probeLeaseMs?: number
  }
  retry?: {
    /** Attempts after the first; default 2. */
    limit?: number
    /** Share of requests that may be retries; default 0.2. */
    budget?: number
    /** Retries a second that are always allowed; default 5. */
    minPerSecond?: number
    /** Decorrelated jitter between these, milliseconds; default 5 and 250. */
    minBackoffMs?: number
    maxBackoffMs?: number
  }
  /** Default `none`. */
  ordering?: Ordering
  idempotency?: IdempotencyPolicy
  /** How long an instance that answered Rejected is left alone, milliseconds; default 250. */
  rejectedMs?: number
  /** A ticket that nobody completed is closed as Unknown after this, milliseconds; default 60,000. */
  ticketLeaseMs?: number
}
