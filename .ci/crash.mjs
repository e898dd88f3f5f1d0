/**
 * `npm run test:crash [-- --points N --seed N]`: the crash tests of the journal at full length. The machine dies at N random
 * operations and the disk does its worst with what was not synced; the process is killed at N / 20 more.
 */
import { randomInt } from 'node:crypto'
import { parseArgs } from 'node:util'
import { run } from './lib/process.mjs'
import { main } from './lib/steps.mjs'

await main(async () => {
  const { values } = parseArgs({
    options: {
      points: { type: 'string', default: '10000' },
      seed: { type: 'string', default: String(randomInt(2 ** 31)) },
    },
  })
  process.stdout.write(`${values.points} points, seed ${values.seed}\n`)
  const { code } = await run('cargo', ['test', '-p', 'linkmesh-journal', '--test', 'crash', '--', '--nocapture'], {
    env: { LINKMESH_CRASH_POINTS: values.points, LINKMESH_CRASH_SEED: values.seed },
    show: true,
  })
  return code
})
