/**
 * How long it takes until an event loop that blocks is passed over, and until one that turns again is taken again. Both
 * ends are read on the mesh's one clock: the worker says when it began and ended to spin, the event when it was noticed.
 */
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { quantile } from '../harness/measure.mjs'
import { built } from '../harness/native.mjs'
import { report } from '../harness/report.mjs'

/** Without traffic loops are looked at ten times a second: a longer spin is sure to be noticed. */
const CASES = [
  { traffic: true, spinMs: 150, rounds: 60 },
  { traffic: false, spinMs: 300, rounds: 60 },
]

export async function run({ quick, random }) {
  const { Mesh } = await built('index.js')
  const mesh = await Mesh.open({ name: 'bench-heartbeat', seed: 1 })
  if (!mesh.capabilities().includes('workers')) throw new Error('a mesh of several threads needs the native addon')
  const file = new URL('../harness/threads/spinner.mjs', import.meta.url)
  const workers = []
  for (let index = 0; index < 2; index++) {
    const worker = new Worker(file, { workerData: { mesh: mesh.name } })
    await once(worker, 'message')
    workers.push(worker)
  }
  for (const { traffic, spinMs, rounds: whole } of CASES) {
    const rounds = quick ? whole / 5 : whole
    const [noticed, recovered] = [[], []]
    let [waited, sent] = [0, 0]
    let sending = traffic
    const load = (async () => {
      while (sending) {
        const began = performance.now()
        sent++
        await mesh.request('echo', sent)
        if (performance.now() - began > spinMs / 2) waited++
        await new Promise((resolve) => setImmediate(resolve))
      }
    })()
    for (let round = 0; round < rounds; round++) {
      const changes = []
      const off = mesh.on('loop', (event) => changes.push(event))
      const worker = workers[round % 2]
      // Not in step with any interval of the watch.
      await new Promise((resolve) => setTimeout(resolve, (traffic ? 20 : 1_200) + (random() % 200)))
      worker.postMessage(spinMs)
      const [{ beganUs, endedUs }] = await once(worker, 'message')
      await once(worker, 'message')
      // The events of this round are read by now.
      await new Promise((resolve) => setTimeout(resolve, 50))
      off()
      const [blocked, free] = [changes.find((event) => event.blocked), changes.find((event) => !event.blocked)]
      if (blocked && free) {
        noticed.push(blocked.atUs - beganUs)
        recovered.push(free.atUs - endedUs)
      }
    }
    sending = false
    await load
    const where = traffic ? 'with traffic' : 'without traffic'
    const noticedOf = `${noticed.length} of ${rounds} spins of ${spinMs} ms noticed`
    for (const [what, times] of [
      [`from the fault to being passed over, ${where} (${noticedOf})`, noticed],
      [`from its first turn to being taken again, ${where}`, recovered],
    ])
      report({ title: what, unit: 'ms', better: 'lower', subject: 'linkmesh', lines: [line('linkmesh', times)] })
    if (traffic) process.stdout.write(`  ${waited} of ${sent} requests waited for a blocked loop\n`)
  }
  await Promise.all(workers.map((worker) => worker.terminate()))
  await mesh.close()
}

function line(name, timesUs) {
  const sorted = timesUs.map((us) => us / 1_000)
  return { name, value: quantile(sorted, 0.5), more: { p99: quantile(sorted, 0.99), max: Math.max(...sorted) } }
}
