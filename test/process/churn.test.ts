import { describe, expect, it } from 'vitest'
import { child } from '../support/child.js'
import { NO_NATIVE } from '../support/native.js'

describe('threads that come and go', () => {
  it.skipIf(NO_NATIVE !== '')(
    'survives 50 workers and more that are ended in the middle of calls, and keeps its memory',
    async () => {
      const { code, said, stderr, idleMs } = await child('churn', ['50', '150'], 240_000, ['--expose-gc'])
      expect(stderr).toBe('')
      expect(code).toBe(0)
      const { growth, outcomes, services } = said[0] as {
        growth: number
        outcomes: Record<string, number>
        services: number[]
      }
      // Nothing of the ended workers is left in the registry.
      expect(services).toEqual([0, 0, 0, 0])
      // Every call that failed knows what became of it.
      expect(
        Object.keys(outcomes).every((name) => /^LM_(THREAD_ENDED|NO_INSTANCE)\/(unknown|not-delivered)$/.test(name)),
      ).toBe(true)
      expect(outcomes['LM_THREAD_ENDED/unknown']).toBeGreaterThan(0)
      expect(growth).toBeLessThan(1.05)
      expect(idleMs).toBeLessThan(1_000)
    },
    250_000,
  )
})
