/** The process of the soak that asks: requests of every kind, many at once, each answer checked. */
import { writeFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'

const { Mesh, LinkmeshError } = await import(pathToFileURL(`${process.env.LINKMESH_SOAK_BUILD}/index.js`).href)

/** Requests under way. */
const DEPTH = 48
/** Executions that are followed one by one: as many as a day brings. */
const MOST = 1 << 26
/** What a request may end with while its node is killed; anything else is a finding. */
const EXPECTED = new Set([
  'LM_NODE_LOST',
  'LM_THREAD_ENDED',
  'LM_NO_INSTANCE',
  'LM_BREAKER_OPEN',
  'LM_SATURATED',
  'LM_QUEUE_FULL',
  'LM_DEADLINE_EXCEEDED',
  'LM_DRAINING',
])
const FATES = { 'not-delivered': 2, unknown: 3, delivered: 4 }

let mesh
let asking = false
let workers = []
let state = 1
let executions = 0
/** Of each execution: 1 acknowledged, else by {@link FATES}. Pages that no execution has come to are not there. */
const fates = new Uint8Array(MOST)
const counts = { done: 0, failed: {} }
let finding

const below = (bound) => {
  state ^= state << 13
  state ^= state >>> 17
  state ^= state << 5
  return (state >>> 0) % bound
}

function check(isRight, what) {
  if (!isRight) throw new Error(`wrong answer: ${what}`)
}

/** Not wanted any more, by the caller or by the clock: either ends it, whatever the other side does. */
async function unwanted() {
  if (below(2) === 0) {
    const error = await mesh.request('hang', null, { timeoutMs: 20 }).catch((cause) => cause)
    if (error.code !== 'LM_DEADLINE_EXCEEDED') throw error
    return
  }
  const controller = new AbortController()
  const answer = mesh.request('hang', null, { signal: controller.signal, timeoutMs: 10_000 }).catch((cause) => cause)
  setImmediate(() => controller.abort())
  const error = await answer
  if (error.code !== 'LM_CANCELLED') throw error
}

async function execute() {
  const id = executions++
  try {
    check((await mesh.request('execute', id)) === id, 'execute')
    fates[id] = 1
  } catch (error) {
    fates[id] = FATES[error.outcome] ?? 0
    throw error
  }
}

const kinds = [
  async () => {
    const body = { number: below(1_000), text: 'größer', list: [below(9), null, true] }
    const reply = await mesh.request('echo', body)
    check(JSON.stringify(reply) === JSON.stringify(body), 'echo')
  },
  async () => {
    const body = Buffer.alloc(1 + below(below(8) === 0 ? 200_000 : 2_000), below(255))
    body[0] = 0
    const reply = await mesh.request('reverse', body)
    check(Buffer.from(reply).reverse().equals(body), 'reverse')
  },
  async () => {
    const to = below(60)
    let last = 0
    for await (const number of mesh.stream('count', to)) check(number === ++last, 'count')
    check(last === to, 'count')
  },
  execute,
  unwanted,
]

async function work() {
  while (asking && finding === undefined) {
    try {
      await kinds[below(kinds.length)]()
      counts.done++
    } catch (error) {
      if (!(error instanceof LinkmeshError) || !EXPECTED.has(error.code)) finding ??= error.stack ?? String(error)
      counts.failed[error.code] = (counts.failed[error.code] ?? 0) + 1
      // The node is away: others of this thread have their turn.
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
  }
}

const commands = {
  async open({ options }) {
    mesh = await Mesh.open(options)
    return {}
  },
  begin: async () => {
    asking = true
    workers = Array.from({ length: DEPTH }, work)
    return {}
  },
  async end() {
    asking = false
    await Promise.all(workers)
    return { ...counts, finding }
  },
  sample: async () => {
    globalThis.gc()
    return { rss: process.memoryUsage.rss(), done: counts.done, finding }
  },
  async fates({ file }) {
    writeFileSync(file, fates.subarray(0, executions))
    return { executions }
  },
  async close() {
    await mesh.close()
    return {}
  },
}

process.on('message', async ({ id, command, ...rest }) => {
  process.send({ id, answer: await commands[command](rest) }, () => command === 'close' && process.disconnect())
})
