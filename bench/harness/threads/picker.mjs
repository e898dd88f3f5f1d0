/** A thread that picks and completes as fast as it can, when told, and says how fast that was. */
import { parentPort, workerData } from 'node:worker_threads'
import { quantile } from '../measure.mjs'
import { built } from '../native.mjs'

/** Of operations timed together: the clock costs a tenth of one. */
const GROUP = 32

const { Mesh, Outcome } = await built('index.js')
const mesh = await Mesh.attach({ name: workerData.mesh })
const route = mesh.route(workerData.service)

parentPort.on('message', ({ ms }) => {
  const times = []
  const began = performance.now()
  let now = began
  while (now - began < ms) {
    for (let n = 0; n < GROUP; n++) route.complete(route.pick(), Outcome.Ok, 800)
    const after = performance.now()
    times.push(((after - now) * 1e6) / GROUP)
    now = after
  }
  const rate = (times.length * GROUP * 1_000) / (now - began)
  parentPort.postMessage({ rate, p50: quantile(times, 0.5), p99: quantile(times, 0.99) })
})
parentPort.postMessage('ready')
