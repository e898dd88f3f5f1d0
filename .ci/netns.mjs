/**
 * `npm run test:netns`: two nodes in network namespaces of their own, with a cable whose MTU, addresses and ends change.
 *
 * Needs Linux, root and iproute2; says so and succeeds where they are missing.
 */
import { spawnSync } from 'node:child_process'
import { root, run } from './lib/process.mjs'
import { main, runSteps, StepError } from './lib/steps.mjs'

/** @returns why there can be no namespaces here, or '' */
function obstacle() {
  if (process.platform !== 'linux') return 'network namespaces are a thing of Linux'
  const name = `lm${process.pid}`
  const made = spawnSync('ip', ['netns', 'add', name], { encoding: 'utf8' })
  if (made.error !== undefined) return 'the command ip (iproute2) is not here'
  if (made.status !== 0) return `root is needed: ${made.stderr.trim()}`
  spawnSync('ip', ['netns', 'del', name])
  return ''
}

await main(async () => {
  const why = obstacle()
  if (why !== '') {
    process.stdout.write(`skipped: ${why}\n`)
    return
  }
  const test = async () => {
    const { code, output } = await run(
      'cargo',
      ['test', '-p', 'linkmesh-transport', '--test', 'netns', '--', '--test-threads=1'],
      { cwd: root, env: { LINKMESH_NETNS: '1' }, timeoutMs: 1_800_000 },
    )
    if (code !== 0) throw new StepError('a test failed', output)
  }
  await runSteps([{ name: 'nodes in network namespaces', run: test }])
})
