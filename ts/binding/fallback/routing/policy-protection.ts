/**
 * What protects instances from too much and callers from bad instances, read by the rules of
 * `crates/routing/src/policy/protection.rs`. The fallback knows these fields and refuses to switch them on: a policy
 * that is accepted is a policy that is at work.
 */
import { type AdaptiveConcurrencyPolicy, type OutlierPolicy, type RateLimitPolicy, Status } from '../../contract.js'
import { Failure } from '../edge.js'
import type { Fields } from '../registry-fields.js'

const HOUR_MS = 3_600_000

export const DEFAULT_RATE_LIMIT: Required<RateLimitPolicy> = { perSecond: 0, burst: 0, keyPerSecond: 0, keyBurst: 0 }

export const DEFAULT_ADAPTIVE_CONCURRENCY: Required<AdaptiveConcurrencyPolicy> = {
  enabled: false,
  min: 4,
  max: 1_000,
  initial: 20,
  tolerance: 1.5,
  windowMs: 100,
}

export const DEFAULT_OUTLIER: Required<OutlierPolicy> = {
  enabled: false,
  intervalMs: 1_000,
  consecutiveFailures: 5,
  minRequests: 20,
  minInstances: 3,
  successRateDeviations: 1.9,
  failureRate: 0.85,
  latencyFactor: 0,
  ejectionMs: 5_000,
  maxEjectionMs: 300_000,
  maxEjected: 0.3,
}

/** Refuses to switch on what only the addon does. */
export function nativeOnly(on: boolean, field: string): void {
  if (on) throw new Failure(Status.NativeRequired, `${field} needs the native addon`, field)
}

export function rateLimitOf(fields: Fields): Required<RateLimitPolicy> {
  const or = DEFAULT_RATE_LIMIT
  return {
    perSecond: fields.integer('perSecond', 0, 1_000_000) ?? or.perSecond,
    burst: fields.integer('burst', 0, 1_000_000) ?? or.burst,
    keyPerSecond: fields.integer('keyPerSecond', 0, 10_000) ?? or.keyPerSecond,
    keyBurst: fields.integer('keyBurst', 0, 10_000) ?? or.keyBurst,
  }
}

export function adaptiveConcurrencyOf(fields: Fields): Required<AdaptiveConcurrencyPolicy> {
  const or = DEFAULT_ADAPTIVE_CONCURRENCY
  const enabled = fields.boolean('enabled') ?? or.enabled
  const min = fields.integer('min', 1, 100_000) ?? or.min
  const max = fields.integer('max', min, 1_000_000) ?? Math.max(or.max, min)
  const initial = fields.integer('initial', min, max) ?? Math.min(Math.max(or.initial, min), max)
  const tolerance = fields.number('tolerance', 1, 10) ?? or.tolerance
  const windowMs = fields.integer('windowMs', 10, 60_000) ?? or.windowMs
  return { enabled, min, max, initial, tolerance, windowMs }
}

export function outlierOf(fields: Fields): Required<OutlierPolicy> {
  const or = DEFAULT_OUTLIER
  const enabled = fields.boolean('enabled') ?? or.enabled
  const intervalMs = fields.integer('intervalMs', 10, HOUR_MS) ?? or.intervalMs
  const consecutiveFailures = fields.integer('consecutiveFailures', 0, 1_000) ?? or.consecutiveFailures
  const minRequests = fields.integer('minRequests', 1, 1_000_000) ?? or.minRequests
  const minInstances = fields.integer('minInstances', 2, 1_000) ?? or.minInstances
  const successRateDeviations = fields.number('successRateDeviations', 0, 10) ?? or.successRateDeviations
  const failureRate = fields.number('failureRate', 0, 1) ?? or.failureRate
  const latencyFactor = fields.number('latencyFactor', 0, 1_000) ?? or.latencyFactor
  const ejectionMs = fields.integer('ejectionMs', 1, HOUR_MS) ?? or.ejectionMs
  const maxEjectionMs = fields.integer('maxEjectionMs', ejectionMs, HOUR_MS) ?? Math.max(or.maxEjectionMs, ejectionMs)
  const maxEjected = fields.number('maxEjected', 0, 1) ?? or.maxEjected
  return {
    enabled,
    intervalMs,
    consecutiveFailures,
    minRequests,
    minInstances,
    successRateDeviations,
    failureRate,
    latencyFactor,
    ejectionMs,
    maxEjectionMs,
    maxEjected,
  }
}
