/** What a connection costs: to make one, with both proofs, and to have ten thousand that are idle. Both in Rust. */
import { spawnSync } from 'node:child_process'
import { report } from '../../report.mjs'
import { buildBench } from '../build-bench.mjs'

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
