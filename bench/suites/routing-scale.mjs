/**
 * What a pick costs as things grow: instances of a service, services, threads at once; what keys and tracing add; and how
 * long a thousand instances take that come one by one.
 */
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { quantile, race } from '../harness/measure.mjs'
import { built } from '../harness/native.mjs'
import { ownLoop } from '../harness/own-loop.mjs'
import { report, timingLines } from '../harness/report.mjs'
import { awaited, bodies, digestOf, handler } from '../harness/rivals.mjs'

const COUNTS = [2, 10, 100, 1_000]
const SERVICES = 10_000

export async function run({ quick, random, rounds, roundMs }) {
  const { Mesh, Outcome } = await built('index.js')
  const mesh = await Mesh.open({ name: 'bench-routing-scale', seed: 1 })
  process.stdout.write(`  linkmesh on the ${mesh.backend.kind} backend\n`)
  const inputs = bodies(random)
  const keys = inputs.map(({ id }) => `customer-${id}`)
  const options = { random, rounds, roundMs }
  const fleet = (service, count, policy) => {
    const began = performance.now()
    for (let index = 0; index < count; index++)
      mesh.register(service, { address: `http://10.0.${index >> 8}.${index & 255}:8080`, ...policy })
    return performance.now() - began
  }
  const picking = (name, routes, key = 'undefined') => ({
    name,
    run: ownLoop(
      name,
      { inputs, routes, keys, ok: Outcome.Ok },
      `(count, first) => {
        let sum = 0
        for (let n = 0; n < count; n++) {
          const body = inputs[(first + n) & 1023]
          const route = routes[${routes.length === 1 ? '0' : `(Math.imul(first + n, 0x9e3779b1) >>> 0) % ${routes.length}`}]
          const ticket = route.pick(${key})
          sum = (sum + body.id + body.quantity * 3) | 0
          route.complete(ticket, ok, 800 + body.quantity)
        }
        return sum
      }`,
    ),
  })

  for (const balancer of ['least-request', 'adaptive', 'maglev']) {
    const contenders = []
    for (const count of COUNTS) {
      const service = `${balancer}.${count}`
      fleet(service, count, { policy: { balancer } })
      const routes = [mesh.route(service)]
      contenders.push(picking(`${balancer}, ${count} instances`, routes))
      if (balancer === 'maglev')
        contenders.push(picking(`${balancer}, ${count} instances, with a key`, routes, 'keys[body.id]'))
    }
    report({
      title: `pick + complete by instances of the service: ${balancer}`,
      unit: 'ns',
      better: 'lower',
      lines: timingLines(await race(contenders, digestOf(inputs), options)),
    })
  }

  const many = Array.from({ length: SERVICES }, (_, index) => {
    const service = `service-${index}`
    fleet(service, 2)
    return mesh.route(service)
  })
  const services = [picking('1 service', [many[0]]), picking('10,000 services, any of them', many)]
  report({
    title: 'pick + complete by services, two instances each',
    unit: 'ns',
    better: 'lower',
    lines: timingLines(await race(services, digestOf(inputs), options)),
  })

  const lines = []
  for (const balancer of ['least-request', 'consistent-hash', 'maglev']) {
    for (const count of [100, 1_000]) {
      const ms = fleet(`${balancer}.registering.${count}`, count, { policy: { balancer } })
      lines.push({ name: `${count}, ${balancer}`, value: (ms * 1_000) / count, more: { whole: ms * 1_000 } })
    }
  }
  report({
    title: 'registering instances one by one, each',
    unit: 'µs',
    better: 'lower',
    lines,
  })

  await requests(mesh, inputs, options)
  if (mesh.capabilities().includes('workers')) await fromThreads(mesh, fleet, quick)
  await mesh.close()
}

/** Request to a handler of the same thread and of another, with nothing, with a trace handed on, and with spans. */
async function requests(mesh, inputs, options) {
  mesh.service('here', handler)
  const places = ['here']
  let server
  if (mesh.capabilities().includes('workers')) {
    server = await thread('order-server', { mesh: mesh.name })
    places.push('there')
  }
  const metadata = { traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' }
  const spans = await tracing(mesh)
  for (const place of places) {
    const plain = awaited(`${place}, no trace`, inputs, (body) => mesh.request(place, body))
    const handed = awaited(`${place}, a trace handed on`, inputs, (body) => mesh.request(place, body, { metadata }))
    const contenders = [plain, handed]
    if (spans !== undefined) {
      // Tracing is of the mesh: on for the rounds of this contender only.
      const traced = awaited(`${place}, spans by OpenTelemetry`, inputs, (body) => mesh.request(place, body))
      contenders.push({
        name: traced.name,
        run: async (count, first) => {
          const stop = spans()
          try {
            return await traced.run(count, first)
          } finally {
            stop()
          }
        },
      })
    }
    report({
      title: place === 'here' ? 'request to a handler of this thread' : 'request to a handler of another thread',
      unit: 'ns',
      better: 'lower',
      lines: timingLines(await race(contenders, digestOf(inputs), options)),
      note: 'one awaited after the other',
    })
  }
  await server?.terminate()
}

/** Starts spans for every request of the mesh; the function it gives stops that. Undefined: OpenTelemetry is not here. */
async function tracing(mesh) {
  try {
    const { BasicTracerProvider } = await import('@opentelemetry/sdk-trace-base')
    const { traceMesh } = await built('otel.js')
    const tracer = new BasicTracerProvider().getTracer('bench')
    return () => traceMesh(mesh, tracer)
  } catch (error) {
    process.stdout.write(`  spans are not measured: ${error.message}\n`)
    return undefined
  }
}

/** Several threads pick at one service of the mesh at once. */
async function fromThreads(mesh, fleet, quick) {
  fleet('shared', 10)
  const lines = []
  for (const count of [1, 2]) {
    const workers = await Promise.all(
      Array.from({ length: count }, () => thread('picker', { mesh: mesh.name, service: 'shared' })),
    )
    const found = []
    for (let round = 0; round <= (quick ? 3 : 11); round++) {
      const answers = workers.map((worker) => once(worker, 'message'))
      for (const worker of workers) worker.postMessage({ ms: quick ? 100 : 300 })
      const results = (await Promise.all(answers)).map(([result]) => result)
      // The first round warms up.
      if (round > 0) found.push(...results)
    }
    const median = (field) =>
      quantile(
        found.map((one) => one[field]),
        0.5,
      )
    lines.push({
      name: `${count} ${count === 1 ? 'thread' : 'threads at once, each'}`,
      value: 1e9 / median('rate'),
      more: { p50: median('p50'), p99: median('p99') },
    })
    await Promise.all(workers.map((worker) => worker.terminate()))
  }
  report({
    title: 'pick + complete from worker threads, one service of ten instances',
    unit: 'ns',
    better: 'lower',
    lines,
    note: 'on a machine with two cores each thread has one, shared with whatever else runs',
  })
}

/** A thread of `bench/harness/threads` that has said it is ready. */
async function thread(name, workerData) {
  const worker = new Worker(new URL(`../harness/threads/${name}.mjs`, import.meta.url), { workerData })
  worker.on('error', (error) => process.stderr.write(`${name}: ${error.stack}\n`))
  await once(worker, 'message')
  return worker
}
