/** The fallback takes a policy only when it is at work. */
import { describe, expect, it } from 'vitest'
import { Status } from '../../ts/binding/contract.js'
import { DEFAULT_POLICY, readPolicy } from '../../ts/binding/fallback/routing/policy.js'

function refusalOf(policy: object): unknown {
  try {
    readPolicy(JSON.stringify(policy))
  } catch (refusal) {
    return refusal
  }
  return undefined
}

describe('what only the addon does', () => {
  it.each([
    ['policy.rateLimit', { rateLimit: { perSecond: 10 } }],
    ['policy.rateLimit', { rateLimit: { keyPerSecond: 1 } }],
    ['policy.adaptiveConcurrency', { adaptiveConcurrency: { enabled: true } }],
    ['policy.outlier', { outlier: { enabled: true } }],
    ['policy.breaker.slowCallMs', { breaker: { slowCallMs: 100 } }],
  ])('%s is refused by name', (field, policy) => {
    expect(refusalOf(policy)).toMatchObject({ status: Status.NativeRequired, field })
  })

  it('is fine while it is off, and checked all the same', () => {
    expect(readPolicy(JSON.stringify(DEFAULT_POLICY))).toEqual(DEFAULT_POLICY)
    expect(refusalOf({ outlier: { maxEjected: 2 } })).toMatchObject({ field: 'policy.outlier.maxEjected', limit: 1 })
    expect(refusalOf({ backpressure: 'drop' })).toMatchObject({ field: 'policy.backpressure' })
  })
})
