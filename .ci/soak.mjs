/**
 * `npm run soak [-- --minutes 30] [--connections 1000]`: everything at once for a long time, with kills and bad networks.
 *
 * Two at the same time. Remote memory over that many connections: operations of every kind while the exporting process is
 * killed again and again. Services between two Node.js processes, one of which is killed again and again (`test/soak`).
 * Refuses growing memory, leaked descriptors or threads, an add or an execution too many or too few, a wrong answer, and an
 * exit that is not clean.
 */
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { addon } from './lib/addon.mjs'
import { install } from './lib/install.mjs'
import { root, run } from './lib/process.mjs'
import { main, runSteps, StepError } from './lib/steps.mjs'
import { javascript } from './lib/typescript.mjs'

/** Compiled before the clock starts: both halves have the machine to themselves for as long. */
const connections = {
  name: 'building the soak of remote memory',
  async run() {
    const args = ['test', '-p', 'linkmesh-memory', '--test', 'soak', '--no-run']
    const { code, output } = await run('cargo', args, { timeoutMs: 3_600_000 })
    if (code !== 0) throw new StepError('the soak of remote memory does not compile', output)
  },
}

await main(async () => {
  const { values } = parseArgs({
    options: {
      minutes: { type: 'string', default: '30' },
      connections: { type: 'string', default: '1000' },
    },
  })
  const minutes = Number(values.minutes)
  if (!(minutes > 0)) throw new StepError('--minutes takes a positive number')
  if (process.platform !== 'linux') {
    process.stdout.write('skipped: what a process holds is read from /proc, which Linux has\n')
    return 0
  }
  await runSteps([install, addon, javascript, connections])
  const timeoutMs = (minutes + 60) * 60_000
  const ended = await Promise.all([
    run('cargo', ['test', '-p', 'linkmesh-memory', '--test', 'soak', 'soak', '--', '--nocapture'], {
      env: { LINKMESH_SOAK_MINUTES: String(minutes), LINKMESH_SOAK_CONNECTIONS: values.connections },
      timeoutMs,
      show: true,
    }),
    run(process.execPath, [join(root, 'test/soak/services.mjs'), String(minutes)], {
      env: { LINKMESH_SOAK_BUILD: join(root, 'dist/esm') },
      timeoutMs,
      show: true,
    }),
  ])
  return ended.every(({ code }) => code === 0) ? 0 : 1
})
