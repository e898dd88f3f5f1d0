/** A request from one worker thread to another: 64 bytes there and back, a promise each. */
import { once } from 'node:events'
import { MessageChannel, Worker } from 'node:worker_threads'
import { quantile } from '../harness/measure.mjs'
import { built } from '../harness/native.mjs'
import { shuffled } from '../harness/random.mjs'
import { report } from '../harness/report.mjs'

const CONTENDERS = ['linkmesh', 'postMessage', 'piscina']

export async function run({ quick, random }) {
  const { Mesh } = await built('index.js')
  const mesh = await Mesh.open({ name: 'bench-workers', seed: 1 })
  if (!mesh.capabilities().includes('workers')) throw new Error('a mesh of several threads needs the native addon')
  const channel = new MessageChannel()
  const servers = [
    await thread('mesh-server', { mesh: mesh.name }),
    await thread('port-server', { port: channel.port1 }, [channel.port1]),
  ]
  const caller = await thread('caller', { mesh: mesh.name, port: channel.port2 }, [channel.port2])

  const ask = async (job, contender, options) => {
    caller.postMessage({ job, contender, ...options })
    const [{ result, error }] = await once(caller, 'message')
    if (error) throw new Error(error)
    return result
  }
  /** Rounds of every contender in shuffled order; the first round warms up and does not count. */
  const rounds = async (count, job, options) => {
    const results = Object.fromEntries(CONTENDERS.map((name) => [name, []]))
    for (let round = 0; round <= count; round++) {
      for (const name of shuffled(CONTENDERS, random)) {
        const result = await ask(job, name, options)
        if (round > 0) results[name].push(result)
      }
    }
    return results
  }

  // The compiler takes a million calls to settle; a service runs for days after that.
  for (const name of CONTENDERS) await ask('rate', name, { inFlight: 128, ms: quick ? 2_000 : 4_000 })

  const ms = quick ? 150 : 400
  const repeats = quick ? 3 : 11
  for (const inFlight of [1, 16, 128]) {
    const results = await rounds(repeats, 'rate', { inFlight, ms })
    report({
      title: `requests a second, ${inFlight} in flight`,
      unit: '/s',
      better: 'higher',
      subject: 'linkmesh',
      lines: CONTENDERS.map((name) => ({ name, value: median(results[name], 'rate') })),
      gates: inFlight === 128 ? [{ rival: 'postMessage', atLeast: 5 }] : [],
    })
  }
  const hot = await rounds(repeats, 'hot', { ms })
  report({
    title: 'round trip, one right after the other',
    unit: 'µs',
    better: 'lower',
    subject: 'linkmesh',
    lines: CONTENDERS.map((name) => ({
      name,
      value: median(hot[name], 'p50'),
      more: { p99: median(hot[name], 'p99') },
    })),
    gates: [{ rival: 'postMessage', atLeast: 10 }],
  })
  const cold = await rounds(quick ? 2 : 6, 'cold', { samples: 8 })
  report({
    title: 'round trip after 50 ms idle',
    unit: 'µs',
    better: 'lower',
    subject: 'linkmesh',
    lines: CONTENDERS.map((name) => {
      const times = cold[name].flatMap((result) => result.times)
      return { name, value: quantile(times, 0.5), more: { p99: quantile(times, 0.99) } }
    }),
    gates: [{ rival: 'postMessage', atLeast: 1 }],
  })
  await Promise.all([caller, ...servers].map((worker) => worker.terminate()))
  await mesh.close()
}

function median(results, field) {
  return quantile(
    results.map((result) => result[field]),
    0.5,
  )
}

/** A thread of `bench/harness/threads` that has said it is ready. */
async function thread(name, workerData, transferList) {
  const worker = new Worker(new URL(`../harness/threads/${name}.mjs`, import.meta.url), { workerData, transferList })
  worker.on('error', (error) => process.stderr.write(`${name}: ${error.stack}\n`))
  await once(worker, 'message')
  return worker
}
