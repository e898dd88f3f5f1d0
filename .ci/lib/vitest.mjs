/** Runs vitest and counts. */
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { vitestCounts } from './counts.mjs'
import { cache, root, run } from './process.mjs'

/**
 * @param {string} name of the run
 * @param {string[]} files filters; all when empty
 * @param {{ node?: string, env?: Record<string, string> }} [options] `node`: the program that runs the tests
 * @returns {Promise<import('./counts.mjs').Counts>}
 */
export async function vitest(name, files, { node = process.execPath, env = {} } = {}) {
  const report = join(cache, 'reports', `${name.replace(/\W+/g, '-')}.json`)
  mkdirSync(join(cache, 'reports'), { recursive: true })
  rmSync(report, { force: true })
  const args = [
    'run',
    '--config',
    'test/vitest.config.ts',
    '--reporter=default',
    '--reporter=./.ci/lib/vitest-reporter.mjs',
  ]
  const { code } = await run(node, [join(root, 'node_modules/vitest/vitest.mjs'), ...args, ...files], {
    env: { LINKMESH_TEST_REPORT: report, ...env },
    show: true,
  })
  return vitestCounts(name, code, existsSync(report) ? JSON.parse(readFileSync(report, 'utf8')) : undefined)
}
