import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LinkmeshError, RemoteError, SaturatedError } from '../../ts/errors.js'
import { errorFromText, errorToText } from '../../ts/mesh/error-data.js'

const across = (error: unknown): Error => errorFromText(errorToText(error))

describe('errors between threads', () => {
  it('rebuilds linkmesh errors as the same class and code', () => {
    const error = across(
      new SaturatedError('full', { retryAfterMs: 7, field: 'queue', limit: 9, outcome: 'not-delivered' }),
    )
    expect(error).toBeInstanceOf(SaturatedError)
    expect(error).toMatchObject({
      code: 'LM_SATURATED',
      message: 'full',
      retryAfterMs: 7,
      field: 'queue',
      limit: 9,
      retryable: true,
    })
  })

  it('rebuilds built-in classes with their fields and stack', () => {
    const original = Object.assign(new RangeError('too far'), { index: 7 })
    const error = across(original)
    expect(error).toBeInstanceOf(RangeError)
    expect(error.constructor).toBe(RangeError)
    expect(error).toMatchObject({ message: 'too far', index: 7 })
    expect(error.stack).toBe(original.stack)
  })

  it("carries an application's own class as name, code, data and cause", () => {
    class PaymentRefused extends Error {
      override name = 'PaymentRefused'
      code = 'E_FUNDS'
      amount = 12
    }
    const error = across(new PaymentRefused('no funds', { cause: new TypeError('inner') }))
    expect(error).toBeInstanceOf(RemoteError)
    expect(error.name).toBe('PaymentRefused')
    expect(error).toMatchObject({ remoteCode: 'E_FUNDS', data: { code: 'E_FUNDS', amount: 12 } })
    expect(error.cause).toBeInstanceOf(TypeError)
    // Relayed once more, by a handler that only passes it on, it is still the same.
    const twice = across(error)
    expect(twice).toBeInstanceOf(RemoteError)
    expect(twice.name).toBe('PaymentRefused')
    expect(twice).toMatchObject({ remoteCode: 'E_FUNDS', data: { amount: 12 } })
  })

  it('survives causes in a circle, getters that throw and things that are no errors', () => {
    const circle = new Error('a')
    circle.cause = circle
    expect(across(circle).message).toBe('a')
    const hostile = Object.defineProperty(new Error('b'), 'trap', {
      enumerable: true,
      get: () => ({
        toJSON() {
          throw new Error('no')
        },
      }),
    })
    expect(across(hostile).message).toBe('b')
    expect(across('just text')).toMatchObject({ name: 'NonError', data: { value: 'just text' } })
    expect(across(undefined).message).toContain('undefined')
    expect(across(Object.create(null)).name).toBe('NonError')
  })

  it('cannot be made to touch a prototype', () => {
    const evil = Object.assign(new Error('x'), JSON.parse('{"__proto__": {"polluted": true}, "constructor": 1}'))
    Object.defineProperty(evil, '__proto__', { value: { polluted: true }, enumerable: true })
    across(evil)
    expect(({} as Record<string, unknown>).polluted).toBeUndefined()
  })

  it('is bounded and never throws, whatever was thrown', () => {
    expect(errorToText(new Error('m'.repeat(1_000_000))).length).toBeLessThan(100_000)
    fc.assert(
      fc.property(fc.anything(), (thrown) => {
        expect(across(thrown)).toBeInstanceOf(Error)
      }),
    )
    fc.assert(
      fc.property(fc.string(), (text) => {
        expect(errorFromText(text)).toBeInstanceOf(Error)
      }),
    )
  })

  it('says when an error came that cannot be read', () => {
    expect(errorFromText('{')).toMatchObject({ code: 'LM_CODEC' })
    expect(errorFromText('{') instanceof LinkmeshError).toBe(true)
  })
})
