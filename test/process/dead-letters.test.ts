import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { child } from '../support/child.js'
import { NO_NATIVE } from '../support/native.js'

const folders: string[] = []
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
})
const folder = () => {
  folders.push(mkdtempSync(join(tmpdir(), 'linkmesh-letters-')))
  return folders.at(-1) as string
}

describe.skipIf(NO_NATIVE !== '')('dead letters on disk', () => {
  it('are one journal for all threads, each told of its own', async () => {
    const { code, said, stderr } = await child('letters', ['threads', folder()], 60_000)
    expect(stderr).toBe('')
    expect(code).toBe(0)
    expect(said[0]).toMatchObject({ ids: 12_000, ordered: true, first: 1, stats: { dead: 12_000, durable: true } })
  }, 60_000)

  it('keep the process alive until they are acknowledged, and no longer', async () => {
    const data = folder()
    const { code, said, idleMs, stderr } = await child('letters', ['pending', data], 60_000)
    expect(stderr).toBe('')
    expect(code).toBe(0)
    expect(said).toEqual([{ event: 'idle', acknowledged: 3_000 }])
    expect(idleMs).toBeLessThan(1_000)
  })

  it('closed while a worker and the main thread append: each append has an outcome, and what was acknowledged is there', async () => {
    const { code, said, stderr } = await child('letters', ['closed', folder()], 60_000)
    expect(stderr).toBe('')
    expect(code).toBe(0)
    expect(said).toEqual([
      {
        event: 'closed',
        rejected: [100, 100],
        refusals: [['LinkmeshError LM_CLOSED'], ['LinkmeshError LM_CLOSED']],
        acknowledged: [true, true],
        missing: 0,
        twice: 0,
        problems: [],
      },
    ])
  }, 60_000)
})
