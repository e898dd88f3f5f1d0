import { runInNewContext } from 'node:vm'
import { describe, expect, it } from 'vitest'
import { Status } from '../../ts/binding/contract.js'
import {
  codeOf,
  errorOf,
  LinkmeshError,
  NoInstanceError,
  RemoteError,
  SaturatedError,
  TimeoutError,
} from '../../ts/errors.js'

describe('errors', () => {
  it('has a code for every status of the boundary', () => {
    for (const [name, status] of Object.entries(Status)) {
      expect(codeOf(status), name).toMatch(/^LM_[A-Z_]+$/)
      if (name !== 'Internal') expect(codeOf(status), name).not.toBe('LM_INTERNAL')
    }
    expect(codeOf(-999)).toBe('LM_INTERNAL')
  })

  it('builds the class that users catch, with what they need to go on', () => {
    const error = errorOf('LM_QUEUE_FULL', 'full', { retryAfterMs: 12, field: 'queueLimit', limit: 4 })
    expect(error).toBeInstanceOf(SaturatedError)
    expect(error).toBeInstanceOf(LinkmeshError)
    expect(error).toBeInstanceOf(Error)
    expect(error).not.toBeInstanceOf(TimeoutError)
    expect(error).toMatchObject({
      code: 'LM_QUEUE_FULL',
      retryable: true,
      retryAfterMs: 12,
      field: 'queueLimit',
      limit: 4,
      outcome: 'not-delivered',
    })
    expect(error.name).toBe('SaturatedError')
    expect(errorOf('LM_BREAKER_OPEN', 'open')).toBeInstanceOf(NoInstanceError)
    expect(errorOf('LM_INVALID_ARGUMENT', 'no').retryable).toBe(false)
  })

  it('keeps instanceof across two copies of the package', () => {
    // What another copy would make: no prototype in common, only the registered symbols.
    const foreign = runInNewContext(
      `const e = new Error('late'); e[Symbol.for('linkmesh.error')] = true; e[Symbol.for('linkmesh.error.timeout')] = true; e`,
    )
    expect(foreign instanceof LinkmeshError).toBe(true)
    expect(foreign instanceof TimeoutError).toBe(true)
    expect(foreign instanceof SaturatedError).toBe(false)
    expect(new Error('plain') instanceof LinkmeshError).toBe(false)
    expect((null as unknown) instanceof LinkmeshError).toBe(false)
  })

  it("keeps the ordinary instanceof for a user's subclass", () => {
    class Mine extends TimeoutError {}
    expect(new Mine('late') instanceof Mine).toBe(true)
    expect(new Mine('late') instanceof TimeoutError).toBe(true)
    expect(new TimeoutError('late') instanceof Mine).toBe(false)
  })

  it('gives a remote error the name of the original', () => {
    const error = new RemoteError('PaymentRefused', 'no funds', { amount: 3 }, 'E_FUNDS')
    expect(error.name).toBe('PaymentRefused')
    expect(error).toMatchObject({ code: 'LM_REMOTE', remoteCode: 'E_FUNDS', data: { amount: 3 }, outcome: 'delivered' })
  })
})
