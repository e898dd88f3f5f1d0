/** The thread that calls: sends to a server thread of each contender and measures what it sees. */
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parentPort, workerData } from 'node:worker_threads'
import { quantile } from '../measure.mjs'
import { built, rival } from '../native.mjs'
import { BODY_BYTES, read, write } from './echo.mjs'

/** @type {Record<string, (body: Uint8Array) => Promise<Uint8Array>>} */
const contenders = { linkmesh: await viaMesh(), postMessage: viaPort(workerData.port), piscina: viaPiscina() }

async function viaMesh() {
  const { Mesh } = await built('index.js')
  const mesh = await Mesh.attach({ name: workerData.mesh })
  return (body) => mesh.request('echo', body)
}

function viaPort(port) {
  const waiting = new Map()
  let last = 0
  port.on('message', ([id, reply]) => {
    const resolve = waiting.get(id)
    waiting.delete(id)
    resolve(reply)
  })
  return (body) =>
    new Promise((resolve) => {
      waiting.set(++last, resolve)
      port.postMessage([last, body])
    })
}

function viaPiscina() {
  const { Piscina } = rival('piscina')
  const filename = fileURLToPath(new URL('./piscina-server.mjs', import.meta.url))
  // One thread, like the others; it may take as many tasks as are in flight.
  const pool = new Piscina({
    filename,
    minThreads: 1,
    maxThreads: 1,
    concurrentTasksPerWorker: 128,
    idleTimeout: 600_000,
  })
  return (body) => pool.run(body)
}

let counter = 0

/** One request; throws when the answer is not the one to this request. */
async function ask(call) {
  const body = new Uint8Array(BODY_BYTES)
  const sent = counter++ >>> 0
  write(body, sent)
  const reply = await call(body)
  if (reply.length !== BODY_BYTES || read(reply) !== (sent + 1) >>> 0) throw new Error('a reply to another request')
}

const jobs = {
  /** Requests a second with `inFlight` of them under way. */
  async rate({ call, inFlight, ms }) {
    let done = 0
    const began = performance.now()
    const until = began + ms
    const lane = async () => {
      // Reading the clock costs a part of what a request costs: not what is measured here.
      while (performance.now() < until) {
        for (let request = 0; request < 16; request++) await ask(call)
        done += 16
      }
    }
    await Promise.all(Array.from({ length: inFlight }, lane))
    return { rate: (done * 1000) / (performance.now() - began) }
  },
  /** Time of a request, µs, one right after the other. */
  async hot({ call, ms }) {
    const times = []
    const until = performance.now() + ms
    while (performance.now() < until) {
      const began = performance.now()
      await ask(call)
      times.push((performance.now() - began) * 1000)
    }
    return { p50: quantile(times, 0.5), p99: quantile(times, 0.99) }
  },
  /** Time of a request, µs, after both threads were idle for 50 ms. */
  async cold({ call, samples }) {
    const times = []
    for (let sample = 0; sample < samples; sample++) {
      await sleep(50)
      const began = performance.now()
      await ask(call)
      times.push((performance.now() - began) * 1000)
    }
    return { times }
  },
}

parentPort.on('message', async ({ job, contender, ...options }) => {
  try {
    parentPort.postMessage({ result: await jobs[job]({ call: contenders[contender], ...options }) })
  } catch (error) {
    parentPort.postMessage({ error: `${contender}: ${error.stack}` })
  }
})
parentPort.postMessage('ready')
