/** The HTTP gateway, proxying and to a handler in a worker thread, against @fastify/http-proxy and a bare server. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { quantile } from '../harness/measure.mjs'
import { rival } from '../harness/native.mjs'
import { shuffled } from '../harness/random.mjs'
import { report } from '../harness/report.mjs'

const CONNECTIONS = 32
/** What every contender has to answer to /orders/42. */
const EXPECTED = '{"id":"42","sku":"A-42","quantity":3}'
const harness = (file) => fileURLToPath(new URL(`../harness/gateway/${file}`, import.meta.url))
const cli = fileURLToPath(new URL('../../dist/esm/cli/main.js', import.meta.url))

export async function run({ quick, random }) {
  const children = []
  const folder = mkdtempSync(join(tmpdir(), 'linkmesh-bench-'))
  try {
    const start = async (name, file, args, env = {}) => {
      const port = await freePort()
      const child = fork(file, args(port), {
        env: { ...process.env, PORT: String(port), ...env },
        stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      })
      children.push(child)
      const url = `http://127.0.0.1:${port}`
      await answering(name, child, `${url}/orders/42`)
      return { name, url }
    }
    const linkmesh = (name, config) =>
      start(name, cli, (port) => {
        const file = join(folder, `${port}.json`)
        writeFileSync(
          file,
          JSON.stringify({ name: 'bench', ...config, gateway: { port, routes: config.gateway.routes } }),
        )
        return ['up', file, '--no-load']
      })

    const bare = await start('bare http', harness('bare.mjs'), () => [])
    const contenders = [
      bare,
      await linkmesh('linkmesh, proxying', {
        upstreams: { orders: [{ address: bare.url }] },
        gateway: { routes: { 'GET /orders/:id': { upstream: 'orders' } } },
      }),
      await linkmesh('linkmesh, handler in a worker', {
        services: { orders: { module: harness('orders.mjs'), instances: 1 } },
        gateway: { routes: { 'GET /orders/:id': 'orders.get' } },
      }),
      await start('@fastify/http-proxy', harness('fastify.mjs'), () => [], { UPSTREAM: bare.url }),
    ]

    const results = new Map(contenders.map(({ name }) => [name, []]))
    const seconds = quick ? 1 : 4
    for (let round = 0; round <= (quick ? 2 : 7); round++) {
      for (const { name, url } of shuffled(contenders, random)) {
        const result = await load(`${url}/orders/42`, seconds)
        // The first round is for the compilers.
        if (round > 0) results.get(name).push(result)
      }
    }
    const lines = contenders.map(({ name }) => {
      const pick = (field) =>
        quantile(
          results.get(name).map((result) => result[field]),
          0.5,
        )
      return { name, value: pick('rate'), more: { mean: pick('mean'), p99: pick('p99') } }
    })
    for (const subject of ['linkmesh, proxying', 'linkmesh, handler in a worker']) {
      report({
        title: `requests a second over ${CONNECTIONS} connections: ${subject}`,
        unit: '/s',
        moreUnit: 'ms',
        better: 'higher',
        subject,
        lines: lines.filter(({ name }) => name === subject || !name.startsWith('linkmesh')),
        note: 'one machine for load, gateway and upstream; the bare server answers by itself',
      })
    }
  } finally {
    for (const child of children) child.kill()
    rmSync(folder, { recursive: true, force: true })
  }
}

/** @returns {Promise<{ rate: number, mean: number, p99: number }>} */
async function load(url, seconds) {
  const { errors, non2xx, mismatches, requests, latency, duration } = await rival('autocannon')({
    url,
    connections: CONNECTIONS,
    duration: seconds,
    expectBody: EXPECTED,
  })
  if (errors + non2xx + mismatches > 0)
    throw new Error(`${url}: ${errors} errors, ${non2xx} not 2xx, ${mismatches} wrong answers`)
  return { rate: requests.total / duration, mean: latency.average, p99: latency.p99 }
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  await once(server, 'close')
  return port
}

/** Resolves when the child answers rightly; rejects when it ends before that. */
async function answering(name, child, url) {
  const until = performance.now() + 20_000
  for (;;) {
    if (child.exitCode !== null) throw new Error(`${name} ended with exit code ${child.exitCode}`)
    const body = await fetch(url).then(
      (response) => response.text(),
      () => undefined,
    )
    if (body === EXPECTED) return
    if (performance.now() > until) throw new Error(`${name} does not answer ${EXPECTED} but ${body}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}
