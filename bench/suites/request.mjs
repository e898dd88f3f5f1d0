/** A whole request to a handler in the same thread, everything on, one awaited after the other. */
import { race } from '../harness/measure.mjs'
import { built } from '../harness/native.mjs'
import { report, timingLines } from '../harness/report.mjs'
import { awaited, bodies, cockatiel, digestOf, handler, moleculer, opossum } from '../harness/rivals.mjs'

export async function run({ random, rounds, roundMs }) {
  const { Mesh } = await built('index.js')
  const mesh = await Mesh.open({ name: 'bench-request', seed: 1 })
  process.stdout.write(`  linkmesh on the ${mesh.backend.kind} backend\n`)
  mesh.service('orders.create', handler)

  const inputs = bodies(random)
  const rivals = [
    ['Moleculer', await moleculer()],
    ['cockatiel', cockatiel()],
    ['opossum', opossum()],
  ]
  const contenders = [
    awaited('linkmesh', inputs, (body) => mesh.request('orders.create', body)),
    ...rivals.map(([name, { call }]) => awaited(name, inputs, call)),
    awaited('the handler alone', inputs, handler),
  ]
  const timings = await race(contenders, digestOf(inputs), { random, rounds, roundMs })
  report({
    title: 'request to a handler in the same thread, everything on',
    unit: 'ns',
    better: 'lower',
    subject: 'linkmesh',
    lines: timingLines(timings),
    gates: [{ rival: 'Moleculer', atLeast: 5 }],
  })
  for (const [, { close }] of rivals) await close()
  await mesh.close()
}
