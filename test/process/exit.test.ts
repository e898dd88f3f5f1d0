import { describe, expect, it } from 'vitest'
import { child } from '../support/child.js'
import { NO_NATIVE } from '../support/native.js'

describe('the process', () => {
  it.each(['leave', 'close'])('ends within a second when it is idle (%s)', async (how) => {
    const { code, idleMs, stderr } = await child('idle', [how])
    expect(stderr).toBe('')
    expect(code).toBe(0)
    expect(idleMs).toBeLessThan(1_000)
  })

  it('lives while a request is outstanding, and no longer', async () => {
    const { code, said, idleMs } = await child('idle', ['pending'])
    expect(code).toBe(0)
    expect(said).toContainEqual({ event: 'idle', code: 'LM_DEADLINE_EXCEEDED' })
    expect(idleMs).toBeLessThan(1_000)
  })

  it.skipIf(NO_NATIVE !== '')('ends although worker threads serve', async () => {
    const { code, said, idleMs, stderr } = await child('idle', ['workers'])
    expect(stderr).toBe('')
    expect(code).toBe(0)
    expect(said[0]).toMatchObject({ event: 'reply', reply: expect.any(Number) })
    expect(idleMs).toBeLessThan(1_000)
  })
})
