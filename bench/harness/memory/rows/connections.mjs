/** What a connection costs: to make one, with both proofs, and to have ten thousand that are idle, in Rust; and from `Mesh` to `Mesh`. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { built } from '../../native.mjs'
import { report } from '../../report.mjs'
import { buildBench } from '../build-bench.mjs'
import { other } from '../contenders.mjs'

const IDLE = 10_000

/** The last line of what the program prints, which is JSON. Undefined, and said, when it cannot be built. */
async function answer(name, ...words) {
  let program
  try {
    program = await buildBench(name)
  } catch (error) {
    process.stdout.write(`  left out: ${error.message}\n`)
    return undefined
  }
  const { status, stdout } = spawnSync(program, words, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] })
  if (status !== 0) throw new Error(`${name} ${words.join(' ')} ended with ${status}`)
  return JSON.parse(stdout.trim().split('\n').at(-1))
}

export async function handshakes({ quick }) {
  const figures = await answer('handshake', 'json', quick ? '100' : '600')
  if (figures === undefined) return
  const name = 'TLS 1.3 with X25519MLKEM768, both proofs made and checked'
  report({
    title: 'a handshake, both ends on one core',
    unit: 'ms',
    better: 'lower',
    subject: name,
    lines: [
      { name, value: figures.all.p50, more: { p99: figures.all.p99 } },
      { name: 'of which TLS', value: figures.tls.p50 },
      { name: 'of which proofs', value: figures.prove.p50 + figures.verify.p50 },
    ],
    budget: 6,
  })
  report({
    title: 'handshakes a second, both ends on one core',
    unit: '/s',
    better: 'higher',
    subject: name,
    lines: [{ name, value: figures.all.rate }],
    budget: 300,
  })
}

/** Nodes of two processes: what a program waits for. Each time a new engine, with an identity that is there already. */
export async function connects({ quick }) {
  const { Mesh } = await built('index.js')
  const folder = mkdtempSync(join(tmpdir(), 'linkmesh-bench-'))
  const server = await other('linkmesh', { data: join(folder, 'server'), bytes: 4_096 })
  try {
    const data = join(folder, 'client')
    const [{ address, token }] = server.address.joining
    const first = await Mesh.open({ name: 'bench-connect', join: { address, token }, data })
    await first.close({ graceMs: 0 })
    const [opens, connections] = [[], []]
    for (let round = 0; round < (quick ? 10 : 50); round++) {
      const began = performance.now()
      const mesh = await Mesh.open({ name: 'bench-connect', listen: 'quic://127.0.0.1:0', data })
      const open = performance.now()
      await mesh.connect({ address })
      connections.push(performance.now() - open)
      opens.push(open - began)
      if ((await mesh.request('echo', 'x')) !== 'x') throw new Error('connected, and the service is not known')
      await mesh.close({ graceMs: 0 })
    }
    const at = (times, share) => times.sort((a, b) => a - b)[Math.floor((times.length - 1) * share)]
    const line = (name, times) => ({ name, value: at(times, 0.5), more: { p99: at(times, 0.99) } })
    report({
      title: 'from Mesh to Mesh, two processes',
      unit: 'ms',
      better: 'lower',
      lines: [
        line('mesh.connect: TLS, both proofs, its services known', connections),
        line('Mesh.open before it: identity, engine, socket', opens),
      ],
    })
  } finally {
    await server.close()
    rmSync(folder, { recursive: true, force: true })
  }
}

export async function idle({ quick }) {
  const count = quick ? IDLE / 10 : IDLE
  const figures = await answer('echo', 'idle', String(count), 'json')
  if (figures === undefined) return
  const each = `resident memory of one of ${count}`
  report({
    title: 'idle connections, at the accepting process',
    unit: 'KB',
    better: 'lower',
    subject: each,
    lines: [{ name: each, value: figures.each / 1024 }],
    budget: 100,
  })
  report({
    title: 'p99 of an echo of 64 bytes on a connection that is not idle',
    unit: 'µs',
    better: 'lower',
    subject: 'among them',
    lines: [
      { name: 'among them', value: figures.among.p99, more: { p50: figures.among.p50 } },
      { name: 'alone', value: figures.alone.p99, more: { p50: figures.alone.p50 } },
    ],
    gates: [{ rival: 'alone', atMostTimes: 2 }],
  })
}
