/** `pick` and `complete` with everything on, against a call through what people use today with everything on. */
import { race } from '../harness/measure.mjs'
import { built } from '../harness/native.mjs'
import { report, timingLines } from '../harness/report.mjs'
import { awaited, bodies, cockatiel, digestOf, handler, moleculer, opossum } from '../harness/rivals.mjs'

const INSTANCES = 8
const BALANCERS = ['round-robin', 'weighted', 'least-request', 'peak-ewma']
/** Mean time of pick and complete together, nanoseconds. */
const BUDGET_NS = 300

export async function run({ random, rounds, roundMs }) {
  const { Mesh, Outcome } = await built('index.js')
  const mesh = await Mesh.open({ name: 'bench-routing', seed: 1 })
  process.stdout.write(`  linkmesh on the ${mesh.backend.kind} backend, ${INSTANCES} instances a service\n`)

  const inputs = bodies(random)
  const digest = digestOf(inputs)
  const routes = BALANCERS.map((balancer) => {
    const service = `orders.${balancer}`
    for (let index = 0; index < INSTANCES; index++) {
      mesh.register(service, {
        address: `http://10.0.0.${index + 1}:8080`,
        weight: 1 + (index % 3),
        policy: { balancer },
      })
    }
    return { balancer, route: mesh.route(service) }
  })
  // The caller's own work between the two is what the handler does, called directly.
  const picking = (route, key) => (count, first) => {
    let sum = 0
    for (let n = 0; n < count; n++) {
      const body = inputs[(first + n) & 1_023]
      const ticket = route.pick(key?.[body.id])
      sum = (sum + body.id + body.quantity * 3) | 0
      route.complete(ticket, Outcome.Ok, 800 + body.quantity)
    }
    return sum
  }

  const rivals = [
    ['Moleculer', await moleculer()],
    ['cockatiel', cockatiel()],
    ['opossum', opossum()],
  ]
  const keys = inputs.map(({ id }) => `customer-${id}`)
  const least = routes.find(({ balancer }) => balancer === 'least-request').route
  const contenders = [
    { name: 'linkmesh pick + complete', run: picking(least) },
    { name: 'linkmesh, with a key', run: picking(least, keys) },
    ...rivals.map(([name, { call }]) => ({ name: `${name} call`, run: awaited(inputs, call) })),
    { name: 'the handler alone', run: awaited(inputs, handler) },
  ]
  const timings = await race(contenders, digest, { random, rounds, roundMs })
  report({
    title: 'pick + complete, everything on (balancer, breaker, limit, budget, histogram)',
    unit: 'ns',
    better: 'lower',
    subject: 'linkmesh pick + complete',
    lines: timingLines(timings),
    gates: [{ rival: 'Moleculer call', atLeast: 20 }],
    budget: BUDGET_NS,
    note: 'the others include awaiting the handler; Moleculer and opossum have one instance to choose from, cockatiel none',
  })

  const balancers = routes.map(({ balancer, route }) => ({ name: balancer, run: picking(route) }))
  report({
    title: 'pick + complete by balancer',
    unit: 'ns',
    better: 'lower',
    subject: 'least-request',
    lines: timingLines(await race(balancers, digest, { random, rounds, roundMs })),
  })
  for (const [, { close }] of rivals) await close()
  await mesh.close()
}
