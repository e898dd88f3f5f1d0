/** What a service makes of classes, read by the rules of `crates/routing/src/policy/qos.rs`, in their order. */
import type { HedgePolicy, QosClass, QosPolicy, WatermarkPolicy } from '../../contract.js'
import { invalid } from '../edge.js'
import type { Fields } from '../registry-fields.js'
import { CLASSES } from './qos.js'

/** Least share that a class can have. */
const LEAST_SHARE = 0.001
/** Thousandths of the whole. */
export const WHOLE = 1_000

/** Every field filled. */
export interface FullQos extends QosPolicy {
  readonly class: QosClass
  readonly shares: Readonly<Record<QosClass, number>>
}

export const DEFAULT_QOS: FullQos = {
  class: 'best-effort',
  shares: {
    'best-effort': 1,
    'high-throughput': 1,
    'low-latency': 1,
    'high-reliability': 1,
    critical: 1,
  },
}

export const DEFAULT_WATERMARKS: Required<WatermarkPolicy> = { high: 0.8, low: 0.5 }

export const DEFAULT_HEDGE: Required<HedgePolicy> = { enabled: false, budget: 0.05, minSamples: 100 }

export function qosOf(fields: Fields): FullQos {
  const word = fields.string('class')
  const found = word === undefined ? DEFAULT_QOS.class : CLASSES.find((known) => known === word)
  if (found === undefined)
    throw invalid(fields.at('class'), `${fields.at('class')} must be one of ${CLASSES.join(', ')}`)
  const given = fields.object('shares', CLASSES)
  const shares = { ...DEFAULT_QOS.shares }
  if (given !== undefined) for (const one of CLASSES) shares[one] = given.number(one, LEAST_SHARE, 1) ?? 1
  return { class: found, shares }
}

export function watermarksOf(fields: Fields): Required<WatermarkPolicy> {
  const high = fields.number('high', LEAST_SHARE, 1) ?? DEFAULT_WATERMARKS.high
  const low = fields.number('low', 0, high) ?? Math.min(DEFAULT_WATERMARKS.low, high)
  return { high, low }
}

/** Requests that wait when the high mark is reached, at least one. */
export function highMark({ high }: Required<WatermarkPolicy>, limit: number): number {
  return Math.max(Math.ceil(high * limit), 1)
}

/** Requests that wait when the low mark is reached. */
export function lowMark(marks: Required<WatermarkPolicy>, limit: number): number {
  return Math.min(Math.floor(marks.low * limit), highMark(marks, limit) - 1)
}

export function hedgeOf(fields: Fields): Required<HedgePolicy> {
  const or = DEFAULT_HEDGE
  const enabled = fields.boolean('enabled') ?? or.enabled
  const budget = fields.number('budget', 0, 1) ?? or.budget
  const minSamples = fields.integer('minSamples', 10, 1_000_000) ?? or.minSamples
  return { enabled, budget, minSamples }
}
