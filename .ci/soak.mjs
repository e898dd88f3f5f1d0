/**
 * `npm run soak [-- --minutes 30] [--connections 1000]`: everything at once for a long time, with kills and bad networks.
 *
 * Remote memory over that many connections: operations of every kind while the exporting process is killed again and again.
 * Refuses growing memory, leaked descriptors or threads, an add too many or too few, and an exit that is not clean.
 */
import { parseArgs } from 'node:util'
import { run } from './lib/process.mjs'
import { main, StepError } from './lib/steps.mjs'

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
  const { code } = await run(
    'cargo',
    ['test', '-p', 'linkmesh-memory', '--test', 'soak', 'soak', '--', '--nocapture'],
    {
      env: { LINKMESH_SOAK_MINUTES: String(minutes), LINKMESH_SOAK_CONNECTIONS: values.connections },
      timeoutMs: (minutes + 60) * 60_000,
      show: true,
    },
  )
  return code
})
