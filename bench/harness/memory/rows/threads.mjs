/** Two processes read from one node, over QUIC, at the same time: with one engine thread over there, and with two. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { report } from '../../report.mjs'
import { other } from '../contenders.mjs'
import { rateLines, rounds } from '../rounds.mjs'

const READERS = 2
const BATCH = 64
/** Looks for readers whose packets come to different threads: which one is chance, a half each time. */
const ATTEMPTS = 20

export async function threads(bench) {
  if (process.platform !== 'linux') return void process.stdout.write('  several engine threads need Linux: left out\n')
  const made = []
  try {
    for (const engineThreads of [1, 2]) made.push(await contender(engineThreads))
    const racing = Object.fromEntries(made.map(({ name, round }) => [name, () => round(bench.ms)]))
    report({
      title: `64-byte reads a second of one node, by ${READERS} processes, ${BATCH} at a time each; ${availableParallelism()} cores for all`,
      unit: '/s',
      moreUnit: 'µs',
      better: 'higher',
      subject: made.at(-1).name,
      lines: rateLines(await rounds(bench, racing)),
    })
  } finally {
    for (const one of made) one.close()
  }
}

async function contender(engineThreads) {
  const folder = mkdtempSync(join(tmpdir(), 'linkmesh-bench-'))
  const server = await other('linkmesh', { data: join(folder, 'server'), bytes: 1 << 20, engineThreads })
  const readers = []
  const close = () => {
    for (const one of [server, ...readers]) one.close()
    rmSync(folder, { recursive: true, force: true })
  }
  try {
    for (let reader = 0; reader < READERS; reader++)
      readers.push(await open(server, join(folder, `reader-${reader}`), server.address.joining[reader]))
    for (let attempt = 0; (await busyThreads(server, readers)) < engineThreads; attempt++) {
      if (attempt === ATTEMPTS)
        throw new Error(`both readers' packets come to one thread after ${ATTEMPTS} connections`)
      readers.pop().close()
      readers.push(await open(server, join(folder, 'reader-1'), { address: server.address.joining[1].address }))
    }
  } catch (error) {
    close()
    throw error
  }
  const all = [server, ...readers]
  const cpu = async () => (await Promise.all(all.map((one) => one.cpu()))).reduce((sum, used) => sum + used)
  const round = async (ms) => {
    const before = await cpu()
    const answers = await Promise.all(readers.map((reader) => reader.ask({ ms, count: BATCH })))
    const done = answers.reduce((sum, { operations }) => sum + operations, 0)
    return { rate: answers.reduce((sum, { rate }) => sum + rate, 0), cpu: ((await cpu()) - before) / done }
  }
  return { name: engineThreads === 1 ? 'one engine thread' : `${engineThreads} engine threads`, round, close }
}

async function open(server, data, joining) {
  const reader = await other('linkmeshReader', { data, joining })
  const { far } = await server.ask({ to: reader.address.nodeId })
  await reader.ask({ grant: far })
  return reader
}

/** How many engine threads of the server worked while all readers read. */
async function busyThreads(server, readers) {
  const before = engineTimes(server.pid)
  await Promise.all(readers.map((reader) => reader.ask({ ms: 200, count: BATCH })))
  const after = engineTimes(server.pid)
  // Clock ticks are 10 ms: who serves a reader has many of them.
  return [...after].filter(([thread, ticks]) => ticks - (before.get(thread) ?? 0) >= 3).length
}

/** Processor time of each engine thread of a process, clock ticks. */
function engineTimes(pid) {
  const times = new Map()
  for (const task of readdirSync(`/proc/${pid}/task`)) {
    const stat = readFileSync(`/proc/${pid}/task/${task}/stat`, 'latin1')
    const name = stat.slice(stat.indexOf('(') + 1, stat.lastIndexOf(')'))
    // The name is cut to 15 bytes.
    if (!name.startsWith('linkmesh-engine'.slice(0, 15))) continue
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    times.set(task, Number(fields[11]) + Number(fields[12]))
  }
  return times
}
