/** The thread that calls: sends to a server thread of each contender and measures what it sees. */
import { fileURLToPath } from 'node:url'
import { parentPort, workerData } from 'node:worker_threads'
import { built, rival } from '../native.mjs'
import { roundTrips } from '../round-trip.mjs'
import { BODY_BYTES } from './echo.mjs'

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

const { rate, hot, idle } = roundTrips(BODY_BYTES)
const jobs = {
  rate: ({ call, inFlight, ms }) => rate(call, inFlight, ms),
  hot: ({ call, ms }) => hot(call, ms),
  cold: ({ call, samples }) => idle(call, samples, 50),
}

parentPort.on('message', async ({ job, contender, ...options }) => {
  try {
    parentPort.postMessage({ result: await jobs[job]({ call: contenders[contender], ...options }) })
  } catch (error) {
    parentPort.postMessage({ error: `${contender}: ${error.stack}` })
  }
})
parentPort.postMessage('ready')
