import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import { run } from '../../.ci/lib/process.mjs'
import { NO_NATIVE } from '../support/native.js'

const POLL_WINDOW_MS = 2
const pinned = spawnSync('taskset', ['-c', '0', process.execPath, '--version']).status === 0
const why = NO_NATIVE || (pinned ? '' : 'no taskset here: threads cannot be held to one core')

// A poll that kept the core let the other thread run only when its window had ended: two windows a round trip.
it(`two threads on one core answer within the poll window${why && ` (${why})`}`, async ({ skip }) => {
  if (why) skip(why)
  const file = fileURLToPath(new URL('./fixtures/one-core.mjs', import.meta.url))
  const { code, output } = await run('taskset', ['-c', '0', process.execPath, file, String(POLL_WINDOW_MS)], {
    timeoutMs: 25_000,
  })
  expect(code, output).toBe(0)
  expect(JSON.parse(output).medianMs).toBeLessThan(POLL_WINDOW_MS)
})
