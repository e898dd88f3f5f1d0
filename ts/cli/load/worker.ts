/** Entry of the load generator's thread. */
import { parentPort, workerData } from 'node:worker_threads'
import { importModule } from '../../config/import-module.js'
import { readLoadProfile } from '../../config/load-profile.js'
import { readAccessLog } from './access-log.js'
import { LoadGenerator } from './generator.js'
import type { LoadCommand, LoadMessage, LoadOptions } from './messages.js'
import { seededRandom } from './random.js'
import { logSchedule, mixSchedule } from './schedule.js'

const port = parentPort
if (!port) throw new Error('load/worker is started as a worker thread by linkmesh up')
const post = (message: LoadMessage) => port.postMessage(message)

async function prepare(options: LoadOptions): Promise<LoadGenerator> {
  const profile = readLoadProfile(await importModule(options.compiled), options.module)
  if (options.log === null) {
    const schedule = mixSchedule(profile, seededRandom(options.seed), options.rate, options.requests)
    post({ type: 'ready', planned: options.requests })
    return new LoadGenerator(options.url, profile, schedule, options.window)
  }
  if (!profile.fromLog) throw new TypeError(`${options.module}: a log needs the function fromLog of the load profile`)
  const { entries, unreadable } = await readAccessLog(options.log, options.requests ?? undefined)
  if (entries.length === 0)
    throw new Error(`${options.log} has no line in the common or combined format (${unreadable} others)`)
  const generator = new LoadGenerator(
    options.url,
    profile,
    logSchedule(profile, entries, options.speed),
    options.window,
  )
  generator.skip(unreadable)
  post({ type: 'ready', planned: entries.length })
  return generator
}

async function main(): Promise<void> {
  const generator = await prepare(workerData as LoadOptions)
  port?.on('message', (command: LoadCommand) => {
    if (command.type === 'stop') generator.stop()
    else void run(generator)
  })
}

async function run(generator: LoadGenerator): Promise<void> {
  const every = setInterval(
    () => post({ type: 'second', total: generator.report(), second: generator.takeSecond() }),
    1_000,
  )
  const total = await generator.run()
  clearInterval(every)
  post({ type: 'done', total })
  port?.close()
}

main().catch((error: unknown) => {
  post({ type: 'error', message: error instanceof Error ? error.message : String(error) })
  port.close()
})
