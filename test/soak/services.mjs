/**
 * Services between two Node.js processes for a long time, one of which is killed again and again: `npm run soak` runs it
 * beside the thousand connections of remote memory.
 *
 * Refuses a wrong answer, an error that a kill does not explain, a request that was done twice or was said to be done and
 * was not (or the other way round), memory that grows, descriptors and threads that stay, an exit that is not clean.
 */
import { fork } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const KILLS_EVERY_MS = 30_000
const SAMPLES_EVERY_MS = 2_000
/** What memory may grow by between the second quarter of its samples and the last. */
const GROWTH_SHARE = 0.1
const GROWTH_BYTES = 16e6
/** Fewer samples than this say nothing. */
const LEAST_SAMPLES = 60
const ANSWER_MS = 60_000
/** Dead letters are kept, in files of 64 MiB, until there are 8 GiB of them; and one file is prepared. */
const LETTER_FILES = (8 * 1024) / 64 + 2

class Part {
  #count = 0
  #waiting = new Map()

  constructor(file) {
    this.child = fork(fileURLToPath(new URL(file, import.meta.url)), { execArgv: ['--expose-gc'] })
    this.ended = new Promise((resolve) => this.child.once('exit', (code, signal) => resolve(signal ?? code)))
    this.child.on('message', ({ id, answer }) => this.#waiting.get(id)?.(answer))
    this.child.once('exit', () => {
      for (const answer of this.#waiting.values()) answer(undefined)
    })
  }

  /** Undefined when it ends before it has answered. */
  async ask(command, rest = {}) {
    const id = ++this.#count
    const answer = await new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no answer to ${command}`)), ANSWER_MS)
      this.#waiting.set(id, (value) => {
        clearTimeout(timer)
        resolve(value)
      })
      this.child.send({ id, command, ...rest })
    })
    this.#waiting.delete(id)
    return answer
  }

  /** Threads, and descriptors by kind: `socket`, `/memfd:linkmesh`, … */
  held() {
    const process = `/proc/${this.child.pid}`
    const held = { threads: readdirSync(`${process}/task`).length }
    for (const fd of readdirSync(`${process}/fd`)) {
      const kind = readlinkSync(`${process}/fd/${fd}`).replace(/:\[\d+\]$|\d{6,}/g, '')
      held[kind] = (held[kind] ?? 0) + 1
    }
    return held
  }
}

const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1]

function grown(who, samples) {
  if (samples.length < LEAST_SAMPLES) return `${who} ${(median(samples) / 1e6).toFixed(1)} MB, too short to tell more`
  const quarter = samples.length >> 2
  const early = median(samples.slice(quarter, 2 * quarter))
  const late = median(samples.slice(-quarter))
  const text = `${who} ${(early / 1e6).toFixed(1)} → ${(late / 1e6).toFixed(1)} MB`
  if (late > early * (1 + GROWTH_SHARE) + GROWTH_BYTES) throw new Error(`memory grows: ${text}`)
  return text
}

/** What was executed, against what its caller was told. */
function checkLedger(executed, fates) {
  const times = new Uint8Array(fates.length)
  for (let at = 0; at + 4 <= executed.length; at += 4) times[executed.readUInt32LE(at)]++
  const sums = { acknowledged: 0, 'not delivered': 0, unknown: 0, failed: 0 }
  const names = ['never ended', ...Object.keys(sums)]
  for (let id = 0; id < fates.length; id++) {
    const name = names[[0, 1, 2, 3, 4][fates[id]]]
    const isRight = [false, times[id] === 1, times[id] === 0, times[id] <= 1, times[id] === 1][fates[id]]
    if (!isRight) throw new Error(`execution ${id} was ${name}, and done ${times[id]} times`)
    sums[name]++
  }
  return Object.entries(sums).map(([name, count]) => `${count} ${name}`)
}

function must(isSo, what) {
  if (!isSo) throw new Error(what)
}

async function soak(minutes, folder) {
  const ledger = join(folder, 'ledger')
  const options = { name: 'soak-serving', listen: 'quic://127.0.0.1:0', data: join(folder, 'serving') }
  let serving = new Part('serving.mjs')
  const { listening, token } = await serving.ask('open', { options, file: ledger })
  options.listen = listening
  const asking = new Part('asking.mjs')
  await asking.ask('open', {
    options: { name: 'soak-asking', join: [{ address: listening, token }], data: join(folder, 'asking') },
  })
  await asking.ask('begin')

  const memory = { asking: [], serving: [] }
  const end = Date.now() + minutes * 60_000
  // The last life of the serving process lasts long enough to see whether its memory grows.
  const lastKill = Date.now() + minutes * 40_000
  let [nextKill, kills, done, settled] = [Date.now() + Math.min(KILLS_EVERY_MS, minutes * 20_000), 0, 0, undefined]
  while (Date.now() < end) {
    await new Promise((resolve) => setTimeout(resolve, SAMPLES_EVERY_MS))
    const sample = await asking.ask('sample')
    must(sample !== undefined, 'the asking process ended')
    must(sample.finding === undefined, sample.finding)
    must(sample.done > done || kills > 0, 'nothing is answered')
    done = sample.done
    memory.asking.push(sample.rss)
    memory.serving.push((await serving.ask('sample')).rss)
    // After the first kill: what a failure opens (the log of dead letters) is open then.
    if (kills > 0) settled ??= [asking.held(), serving.held()]
    if (Date.now() < nextKill || Date.now() > lastKill) continue
    serving.child.kill('SIGKILL')
    await serving.ended
    serving = new Part('serving.mjs')
    await serving.ask('open', { options, file: ledger })
    kills++
    memory.serving = []
    nextKill = Date.now() + KILLS_EVERY_MS
  }
  const ended = await asking.ask('end')
  must(ended.finding === undefined, ended.finding)
  must(ended.done > 0, 'nothing was answered')
  await asking.ask('sample')
  await serving.ask('sample')
  // A soak so short that nothing was looked at after the first kill has nothing to compare with.
  for (const [at, part] of settled === undefined ? [] : [asking, serving].entries()) {
    const [before, after] = [settled[at], part.held()]
    for (const [kind, count] of Object.entries(after)) {
      const most = kind.endsWith('.journal') ? LETTER_FILES : (before[kind] ?? 0)
      must(count <= most, `${kind}: ${before[kind] ?? 0} at first, ${count} at last, ${most} allowed`)
    }
  }
  const file = join(folder, 'fates')
  await asking.ask('fates', { file })
  for (const part of [asking, serving]) {
    await part.ask('close')
    const timer = setTimeout(() => part.child.kill('SIGKILL'), 10_000)
    must((await part.ended) === 0, 'an exit that is not clean')
    clearTimeout(timer)
  }
  const failures = Object.entries(ended.failed).map(([code, count]) => `${count} ${code}`)
  process.stdout.write(
    [
      `services: ${ended.done} requests answered rightly, ${kills} kills; ended otherwise: ${failures.join(', ') || 'none'}`,
      `executions: ${checkLedger(readFileSync(ledger), readFileSync(file)).join(', ')}; none twice`,
      `${grown('asking', memory.asking)}; ${grown('serving, since its last start', memory.serving)}`,
      'clean exit of both processes',
      '',
    ].join('\n'),
  )
}

const folder = mkdtempSync(join(tmpdir(), 'linkmesh-soak-'))
try {
  await soak(Number(process.argv[2]), folder)
} catch (error) {
  process.stdout.write(`services: ${error.stack}\n`)
  process.exitCode = 1
} finally {
  rmSync(folder, { recursive: true, force: true })
  // Whatever is left of a soak that failed ends with it.
  process.exit()
}
