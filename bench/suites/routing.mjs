/** `pick` and `complete` with everything on, against a call through what people use today with everything on. */
import { race } from '../harness/measure.mjs'
import { addon, built } from '../harness/native.mjs'
import { ownLoop } from '../harness/own-loop.mjs'
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
  const picking = (name, route, keys) => ({
    name,
    run: ownLoop(
      name,
      { inputs, route, keys, ok: Outcome.Ok },
      `(count, first) => {
        let sum = 0
        for (let n = 0; n < count; n++) {
          const body = inputs[(first + n) & 1023]
          const ticket = route.pick(${keys ? 'keys[body.id]' : ''})
          sum = (sum + body.id + body.quantity * 3) | 0
          route.complete(ticket, ok, 800 + body.quantity)
        }
        return sum
      }`,
    ),
  })

  const rivals = [
    ['Moleculer', await moleculer()],
    ['cockatiel', cockatiel()],
    ['opossum', opossum()],
  ]
  const native = mesh.backend.kind === 'native' ? [await boundary(inputs, INSTANCES)] : []
  const keys = inputs.map(({ id }) => `customer-${id}`)
  const least = routes.find(({ balancer }) => balancer === 'least-request').route
  const contenders = [
    picking('linkmesh pick + complete', least),
    picking('linkmesh, with a key', least, keys),
    ...native,
    ...rivals.map(([name, { call }]) => awaited(`${name} call`, inputs, call)),
    awaited('the handler alone', inputs, handler),
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

  const balancers = routes.map(({ balancer, route }) => picking(balancer, route))
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

/** The two native functions without the TypeScript around them: what is left is the crossing and the work. */
async function boundary(inputs, instances) {
  const binding = await addon()
  const mesh = binding.meshOpen(JSON.stringify({ name: 'bench-boundary', seed: 1 }))
  const service = binding.serviceDefine(mesh, 'orders', '')
  for (let index = 0; index < instances; index++) {
    binding.instanceAdd(
      mesh,
      service,
      JSON.stringify({ address: `http://10.0.0.${index + 1}:8080`, weight: 1 + (index % 3) }),
    )
  }
  const name = 'the two native functions alone'
  const { pick, complete } = binding
  const run = ownLoop(
    name,
    { inputs, pick, complete, mesh, service },
    `(count, first) => {
      let sum = 0
      for (let n = 0; n < count; n++) {
        const body = inputs[(first + n) & 1023]
        const ticket = pick(mesh, service, 0)
        sum = (sum + body.id + body.quantity * 3) | 0
        if (complete(mesh, ticket, 0, 800 + body.quantity) !== 0) throw new Error('a ticket was refused')
      }
      return sum
    }`,
  )
  return { name, run }
}
