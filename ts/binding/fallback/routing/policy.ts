/** What a service wants of its router, read from JSON by the rules of `crates/routing/src/policy.rs`, in their order. */
import type {
  AdaptiveConcurrencyPolicy,
  Backpressure,
  Balancer,
  BalancingPolicy,
  HedgePolicy,
  IdempotencyPolicy,
  Ordering,
  OutlierPolicy,
  Policy,
  RateLimitPolicy,
  WatermarkPolicy,
} from '../../contract.js'
import { exceeded, invalid } from '../edge.js'
import { Fields } from '../registry-fields.js'
import { outOfRange } from '../registry-validate.js'
import { utf8Length } from '../text.js'
import {
  adaptiveConcurrencyOf,
  DEFAULT_ADAPTIVE_CONCURRENCY,
  DEFAULT_OUTLIER,
  DEFAULT_RATE_LIMIT,
  nativeOnly,
  outlierOf,
  rateLimitOf,
} from './policy-protection.js'
import {
  DEFAULT_HEDGE,
  DEFAULT_QOS,
  DEFAULT_WATERMARKS,
  type FullQos,
  hedgeOf,
  qosOf,
  watermarksOf,
} from './policy-qos.js'

/** When an instance is ejected and how it comes back, every field filled. */
export type BreakerPolicy = Readonly<Required<NonNullable<Policy['breaker']>>>
/** How many retries a service affords, every field filled. */
export type RetryPolicy = Readonly<Required<NonNullable<Policy['retry']>>>
type Nested =
  | 'balancing'
  | 'watermarks'
  | 'qos'
  | 'hedge'
  | 'rateLimit'
  | 'adaptiveConcurrency'
  | 'outlier'
  | 'breaker'
  | 'retry'
  | 'idempotency'

/** Every field filled. */
export interface FullPolicy extends Readonly<Required<Omit<Policy, Nested>>> {
  readonly balancing: Readonly<Required<BalancingPolicy>>
  readonly watermarks: Readonly<Required<WatermarkPolicy>>
  readonly qos: FullQos
  readonly hedge: Readonly<Required<HedgePolicy>>
  readonly rateLimit: Readonly<Required<RateLimitPolicy>>
  readonly adaptiveConcurrency: Readonly<Required<AdaptiveConcurrencyPolicy>>
  readonly outlier: Readonly<Required<OutlierPolicy>>
  readonly breaker: BreakerPolicy
  readonly retry: RetryPolicy
  readonly idempotency: Readonly<Required<IdempotencyPolicy>>
}

/** Probes in flight at one time, at most. */
export const PROBE_PLACES = 8

const HOUR_MS = 3_600_000
const DAY_MS = 86_400_000
const BALANCERS: readonly Balancer[] = [
  'round-robin',
  'weighted',
  'least-request',
  'peak-ewma',
  'random',
  'adaptive',
  'consistent-hash',
  'maglev',
  'rendezvous',
]
const ORDERINGS: readonly Ordering[] = ['none', 'key']
const BACKPRESSURES: readonly Backpressure[] = ['reject', 'delay', 'drop-oldest', 'shed-lowest']
/** Tags that a subset may ask for, and bytes of each. */
const SUBSET_TAGS = 8
const TAG_BYTES = 64

/** The defaults of the contract. */
export const DEFAULT_POLICY: FullPolicy = {
  balancer: 'least-request',
  balancing: {
    fullScan: false,
    hashBalanceFactor: 0,
    slowStartMs: 0,
    panicThreshold: 0,
    zoneFirst: false,
    overprovisioning: 1.4,
    subset: [],
    subsetFallback: 'any',
  },
  timeoutMs: 5_000,
  concurrency: 256,
  queueLimit: 1_024,
  backpressure: 'delay',
  watermarks: DEFAULT_WATERMARKS,
  qos: DEFAULT_QOS,
  hedge: DEFAULT_HEDGE,
  rateLimit: DEFAULT_RATE_LIMIT,
  adaptiveConcurrency: DEFAULT_ADAPTIVE_CONCURRENCY,
  outlier: DEFAULT_OUTLIER,
  breaker: {
    enabled: true,
    consecutiveFailures: 5,
    errorRate: 0.5,
    minRequests: 20,
    slowCallMs: 0,
    slowCallRate: 0.5,
    windowMs: 10_000,
    openMs: 1_000,
    maxOpenMs: 30_000,
    probes: 3,
    concurrentProbes: 1,
    probeLeaseMs: 10_000,
  },
  retry: { limit: 2, budget: 0.2, minPerSecond: 5, minBackoffMs: 5, maxBackoffMs: 250 },
  ordering: 'none',
  idempotency: { ttlMs: 300_000, maxEntries: 10_000, maxBytes: 16 << 20 },
  rejectedMs: 250,
  ticketLeaseMs: 60_000,
}

/** Whether requests queue when every instance is at its limit. */
export function mayWait({ backpressure, queueLimit }: FullPolicy): boolean {
  return backpressure !== 'reject' && queueLimit !== 0
}

/** From JSON of the contract's `Policy`. Throws a refusal with the path of the field (`policy.breaker.openMs`). */
export function readPolicy(json: string): FullPolicy {
  const or = DEFAULT_POLICY
  const fields = Fields.parse(json, 'policy', true, Object.keys(or))
  const word = fields.string('balancer')
  const balancer = word === undefined ? or.balancer : BALANCERS.find((known) => known === word)
  if (balancer === undefined) throw invalid('policy.balancer', `policy.balancer must be one of ${BALANCERS.join(', ')}`)
  const balancing = fields.object('balancing', Object.keys(or.balancing))
  const readBalancing = balancing === undefined ? or.balancing : balancingOf(balancing)
  const timeoutMs = fields.integer('timeoutMs', 1, DAY_MS) ?? or.timeoutMs
  const concurrency = fields.integer('concurrency', 0, 1_000_000) ?? or.concurrency
  const queueLimit = fields.integer('queueLimit', 0, 65_536) ?? or.queueLimit
  const pressure = fields.string('backpressure')
  const backpressure = pressure === undefined ? or.backpressure : BACKPRESSURES.find((known) => known === pressure)
  if (backpressure === undefined)
    throw invalid('policy.backpressure', `policy.backpressure must be one of ${BACKPRESSURES.join(', ')}`)
  const watermarks = fields.object('watermarks', Object.keys(or.watermarks))
  const readWatermarks = watermarks === undefined ? or.watermarks : watermarksOf(watermarks)
  const qos = fields.object('qos', Object.keys(or.qos))
  const readQos = qos === undefined ? or.qos : qosOf(qos)
  const hedge = fields.object('hedge', Object.keys(or.hedge))
  const readHedge = hedge === undefined ? or.hedge : hedgeOf(hedge)
  const rateLimit = fields.object('rateLimit', Object.keys(or.rateLimit))
  const readRateLimit = rateLimit === undefined ? or.rateLimit : rateLimitOf(rateLimit)
  const adaptive = fields.object('adaptiveConcurrency', Object.keys(or.adaptiveConcurrency))
  const readAdaptive = adaptive === undefined ? or.adaptiveConcurrency : adaptiveConcurrencyOf(adaptive)
  const outlier = fields.object('outlier', Object.keys(or.outlier))
  const readOutlier = outlier === undefined ? or.outlier : outlierOf(outlier)
  const breaker = fields.object('breaker', Object.keys(or.breaker))
  const readBreaker = breaker === undefined ? or.breaker : breakerOf(breaker)
  const retry = fields.object('retry', Object.keys(or.retry))
  const readRetry = retry === undefined ? or.retry : retryOf(retry)
  const order = fields.string('ordering')
  const ordering = order === undefined ? or.ordering : ORDERINGS.find((known) => known === order)
  if (ordering === undefined) throw invalid('policy.ordering', `policy.ordering must be one of ${ORDERINGS.join(', ')}`)
  const idempotency = fields.object('idempotency', Object.keys(or.idempotency))
  const readIdempotency = idempotency === undefined ? or.idempotency : idempotencyOf(idempotency)
  const rejectedMs = fields.integer('rejectedMs', 0, 60_000) ?? or.rejectedMs
  const ticketLeaseMs = fields.integer('ticketLeaseMs', 1, DAY_MS) ?? or.ticketLeaseMs
  nativeOnly(readRateLimit.perSecond + readRateLimit.keyPerSecond > 0, 'policy.rateLimit')
  nativeOnly(readAdaptive.enabled, 'policy.adaptiveConcurrency')
  nativeOnly(readOutlier.enabled, 'policy.outlier')
  nativeOnly(readBreaker.slowCallMs > 0, 'policy.breaker.slowCallMs')
  return {
    balancer,
    balancing: readBalancing,
    timeoutMs,
    concurrency,
    queueLimit,
    backpressure,
    watermarks: readWatermarks,
    qos: readQos,
    hedge: readHedge,
    rateLimit: readRateLimit,
    adaptiveConcurrency: readAdaptive,
    outlier: readOutlier,
    breaker: readBreaker,
    retry: readRetry,
    ordering,
    idempotency: readIdempotency,
    rejectedMs,
    ticketLeaseMs,
  }
}

function balancingOf(fields: Fields): FullPolicy['balancing'] {
  const or = DEFAULT_POLICY.balancing
  const fullScan = fields.boolean('fullScan') ?? or.fullScan
  const hashBalanceFactor = fields.integer('hashBalanceFactor', 0, 1_000) ?? or.hashBalanceFactor
  if (hashBalanceFactor >= 1 && hashBalanceFactor < 100)
    throw outOfRange(fields.at('hashBalanceFactor'), 100, 1_000, hashBalanceFactor)
  const slowStartMs = fields.integer('slowStartMs', 0, HOUR_MS) ?? or.slowStartMs
  const panicThreshold = fields.number('panicThreshold', 0, 1) ?? or.panicThreshold
  const zoneFirst = fields.boolean('zoneFirst') ?? or.zoneFirst
  const overprovisioning = fields.number('overprovisioning', 1, 10) ?? or.overprovisioning
  const path = fields.at('subset')
  const subset = fields.strings('subset') ?? []
  if (subset.length > SUBSET_TAGS) throw exceeded(path, `${path} may have at most ${SUBSET_TAGS} tags`, SUBSET_TAGS)
  if (subset.some((tag) => tag === '' || utf8Length(tag) > TAG_BYTES))
    throw invalid(path, `${path} must hold tags of 1 to ${TAG_BYTES} bytes`)
  const subsetFallback = fields.string('subsetFallback') ?? or.subsetFallback
  if (subsetFallback !== 'any' && subsetFallback !== 'none')
    throw invalid(fields.at('subsetFallback'), `${fields.at('subsetFallback')} must be one of any, none`)
  return {
    fullScan,
    hashBalanceFactor,
    slowStartMs,
    panicThreshold,
    zoneFirst,
    overprovisioning,
    subset,
    subsetFallback,
  }
}

function breakerOf(fields: Fields): BreakerPolicy {
  const or = DEFAULT_POLICY.breaker
  const enabled = fields.boolean('enabled') ?? or.enabled
  const consecutiveFailures = fields.integer('consecutiveFailures', 0, 1_000) ?? or.consecutiveFailures
  const errorRate = fields.number('errorRate', 0.001, 1) ?? or.errorRate
  const minRequests = fields.integer('minRequests', 1, 1_000_000) ?? or.minRequests
  const slowCallMs = fields.integer('slowCallMs', 0, HOUR_MS) ?? or.slowCallMs
  const slowCallRate = fields.number('slowCallRate', 0.001, 1) ?? or.slowCallRate
  const windowMs = fields.integer('windowMs', 100, HOUR_MS) ?? or.windowMs
  const openMs = fields.integer('openMs', 1, HOUR_MS) ?? or.openMs
  const maxOpenMs = fields.integer('maxOpenMs', openMs, HOUR_MS) ?? Math.max(or.maxOpenMs, openMs)
  const probes = fields.integer('probes', 1, 100) ?? or.probes
  const concurrentProbes = fields.integer('concurrentProbes', 1, PROBE_PLACES) ?? or.concurrentProbes
  const probeLeaseMs = fields.integer('probeLeaseMs', 1, HOUR_MS) ?? or.probeLeaseMs
  return {
    enabled,
    consecutiveFailures,
    errorRate,
    minRequests,
    slowCallMs,
    slowCallRate,
    windowMs,
    openMs,
    maxOpenMs,
    probes,
    concurrentProbes,
    probeLeaseMs,
  }
}

function idempotencyOf(fields: Fields): FullPolicy['idempotency'] {
  const or = DEFAULT_POLICY.idempotency
  const ttlMs = fields.integer('ttlMs', 1, DAY_MS) ?? or.ttlMs
  const maxEntries = fields.integer('maxEntries', 1, 1_000_000) ?? or.maxEntries
  const maxBytes = fields.integer('maxBytes', 1_024, 1 << 30) ?? or.maxBytes
  return { ttlMs, maxEntries, maxBytes }
}

function retryOf(fields: Fields): RetryPolicy {
  const or = DEFAULT_POLICY.retry
  const limit = fields.integer('limit', 0, 10) ?? or.limit
  const budget = fields.number('budget', 0, 1) ?? or.budget
  const minPerSecond = fields.integer('minPerSecond', 0, 10_000) ?? or.minPerSecond
  const minBackoffMs = fields.integer('minBackoffMs', 0, 60_000) ?? or.minBackoffMs
  const maxBackoffMs = fields.integer('maxBackoffMs', minBackoffMs, 60_000) ?? Math.max(or.maxBackoffMs, minBackoffMs)
  return { limit, budget, minPerSecond, minBackoffMs, maxBackoffMs }
}
