/**
 * How long it takes until an event loop that blocks is passed over, and until one that turns again is taken again. Both
 * ends are read on the mesh's one clock: the worker says when it began and ended to spin, the event when it was noticed.
 */
import { once } from 'node:events'
import { setTimeout as after } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { quantile } from '../harness/measure.mjs'
import { built } from '../harness/native.mjs'
import { report } from '../harness/report.mjs'

/** Of each kind. */
const FAULTS = 210
/** Loops are looked at ten times a second without traffic: a longer spin is sure to be noticed. */
const SPIN_MS = { traffic: 150, calm: 300 }
/** A mesh is calm a second after the last sign of traffic, and each fault is one: so several take turns. */
const CALM_MESHES = 3
const CALM_MS = 1_200
/** What was not noticed by then is not noticed. */
const GIVEN_UP_MS = 2_000

export async function run({ quick, random }) {
  const { Mesh } = await built('index.js')
  const faults = quick ? FAULTS / 7 : FAULTS
  await withTraffic(Mesh, faults, random)
  const times = await Promise.all(
    Array.from({ length: CALM_MESHES }, async (_, lane) => {
      const mesh = await open(Mesh, `bench-heartbeat-calm-${lane}`)
      const worker = await spinner(mesh)
      const noticed = []
      for (let round = 0; round < faults / CALM_MESHES; round++) {
        await after(CALM_MS + (random() % 400))
        noticed.push(await fault(mesh, worker, SPIN_MS.calm))
      }
      await worker.thread.terminate()
      await mesh.close()
      return noticed
    }),
  )
  print('without traffic', SPIN_MS.calm, times.flat())
}

async function withTraffic(Mesh, faults, random) {
  const mesh = await open(Mesh, 'bench-heartbeat')
  const workers = [await spinner(mesh), await spinner(mesh)]
  let [waited, sent, sending] = [0, 0, true]
  const load = (async () => {
    while (sending) {
      const began = performance.now()
      sent++
      await mesh.request('echo', sent)
      if (performance.now() - began > SPIN_MS.traffic / 2) waited++
      await new Promise((resolve) => setImmediate(resolve))
    }
  })()
  const times = []
  for (let round = 0; round < faults; round++) {
    // Not in step with any interval of the watch.
    await after(20 + (random() % 200))
    times.push(await fault(mesh, workers[round % 2], SPIN_MS.traffic))
  }
  sending = false
  await load
  print('with traffic', SPIN_MS.traffic, times)
  process.stdout.write(`  ${waited} of ${sent} requests waited for a blocked loop\n`)
  await Promise.all(workers.map(({ thread }) => thread.terminate()))
  await mesh.close()
}

async function open(Mesh, name) {
  const mesh = await Mesh.open({ name, seed: 1 })
  if (!mesh.capabilities().includes('workers')) throw new Error('a mesh of several threads needs the native addon')
  return mesh
}

async function spinner(mesh) {
  const thread = new Worker(new URL('../harness/threads/spinner.mjs', import.meta.url), {
    workerData: { mesh: mesh.name },
  })
  const [id] = await once(thread, 'message')
  return { thread, id }
}

/** Microseconds from a worker's fault to the event, and from its end to the other; undefined when it was not noticed. */
async function fault(mesh, { thread, id }, spinMs) {
  const changes = []
  const over = new Promise((resolve) => {
    const off = mesh.on('loop', (event) => {
      if (event.thread !== id) return
      changes.push(event)
      if (event.blocked) return
      off()
      resolve()
    })
  })
  thread.postMessage(spinMs)
  const [{ beganUs, endedUs }] = await once(thread, 'message')
  const given = new AbortController()
  await Promise.race([over, after(GIVEN_UP_MS, undefined, { signal: given.signal }).catch(() => undefined)])
  given.abort()
  const [blocked, free] = [changes.find((event) => event.blocked), changes.find((event) => !event.blocked)]
  return blocked && free ? { noticed: blocked.atUs - beganUs, recovered: free.atUs - endedUs } : undefined
}

function print(where, spinMs, faults) {
  const times = faults.filter((times) => times !== undefined)
  const noticedOf = `${times.length} of ${faults.length} spins of ${spinMs} ms noticed`
  for (const [what, us] of [
    [`from the fault to being passed over, ${where} (${noticedOf})`, times.map(({ noticed }) => noticed)],
    [`from its first turn to being taken again, ${where}`, times.map(({ recovered }) => recovered)],
  ])
    report({ title: what, unit: 'ms', better: 'lower', subject: 'linkmesh', lines: [line('linkmesh', us)] })
}

function line(name, timesUs) {
  const times = timesUs.map((us) => us / 1_000)
  const [p50, p99] = [quantile(times, 0.5), quantile(times, 0.99)]
  return { name, value: p50, more: { p50, p99, max: Math.max(...times) } }
}
