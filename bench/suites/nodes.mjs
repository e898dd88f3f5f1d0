/**
 * A request from one process to another on this machine, there and back, a promise each: of 200 bytes, and of 64 as between
 * worker threads (V8 asks the C allocator for an array of more, which each contender's caller pays for its request here).
 *
 * linkmesh twice: over shared memory, as nodes of one host do, and over QUIC (encrypted), as nodes of two hosts do. Rivals: a
 * Unix socket and TCP (`node:net`) with frames of our own, and HTTP/1.1 with connections kept open, none of them encrypted.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { quantile } from '../harness/measure.mjs'
import { viaHttp, viaMesh, viaSocket } from '../harness/nodes-rivals.mjs'
import { shuffled } from '../harness/random.mjs'
import { report } from '../harness/report.mjs'
import { roundTrips } from '../harness/round-trip.mjs'

const BODIES = [64, 200]
const IDLE_MS = 20
const SHARED = 'linkmesh, shared memory'
const QUIC = 'linkmesh, QUIC'

export async function run({ quick, random }) {
  const folder = mkdtempSync(join(tmpdir(), 'linkmesh-bench-'))
  const socket = join(folder, 'echo')
  const file = fileURLToPath(new URL('../harness/nodes-server.mjs', import.meta.url))
  const server = spawn(process.execPath, [file, join(folder, 'server'), socket], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  try {
    const [line] = await once(createInterface({ input: server.stdout }), 'line')
    const { address, tokens, tcp, http } = JSON.parse(line)
    const contenders = {
      [SHARED]: await viaMesh({
        name: 'bench-nodes-shared',
        address,
        token: tokens[0],
        data: join(folder, 'shared'),
        sameHost: true,
      }),
      [QUIC]: await viaMesh({
        name: 'bench-nodes-quic',
        address,
        token: tokens[1],
        data: join(folder, 'quic'),
        sameHost: false,
      }),
      'Unix socket (node:net)': await viaSocket(socket),
      'TCP (node:net)': await viaSocket(tcp, '127.0.0.1'),
      'HTTP/1.1 (node:http)': viaHttp(http),
    }
    if (contenders[QUIC].via !== 'quic') throw new Error('the node that was to use QUIC does not')
    await measure(contenders, { quick, random })
    for (const { close } of Object.values(contenders)) await close()
  } finally {
    server.kill('SIGKILL')
    await once(server, 'exit')
    rmSync(folder, { recursive: true, force: true })
  }
}

async function measure(contenders, { quick, random }) {
  const names = Object.keys(contenders)
  const rounds = async (count, job) => {
    const results = Object.fromEntries(names.map((name) => [name, []]))
    for (let round = 0; round <= count; round++) {
      for (const name of shuffled(names, random)) {
        const result = await job(contenders[name].call)
        // The first round warms up.
        if (round > 0) results[name].push(result)
      }
    }
    return results
  }
  const ms = quick ? 150 : 400
  const repeats = quick ? 5 : 11
  for (const bytes of BODIES) {
    const { rate, hot } = roundTrips(bytes)
    for (const name of names) await rate(contenders[name].call, 64, quick ? 1_000 : 3_000)
    const one = await rounds(repeats, (call) => hot(call, ms))
    report({
      title: `request and answer of ${bytes} bytes, one right after the other`,
      unit: 'µs',
      better: 'lower',
      subject: SHARED,
      lines: names.map((name) => ({ name, value: median(one[name], 'p50'), more: { p99: median(one[name], 'p99') } })),
      gates: [{ rival: 'Unix socket (node:net)', atLeast: 10 }],
    })
    for (const inFlight of [16, 128]) {
      const results = await rounds(repeats, (call) => rate(call, inFlight, ms))
      report({
        title: `requests of ${bytes} bytes a second, ${inFlight} in flight`,
        unit: '/s',
        better: 'higher',
        subject: SHARED,
        lines: names.map((name) => ({ name, value: median(results[name], 'rate') })),
        gates: inFlight === 128 ? [{ rival: 'Unix socket (node:net)', atLeast: 2 }] : [],
      })
    }
  }
  const { idle } = roundTrips(64)
  const cold = await rounds(quick ? 2 : 6, (call) => idle(call, 8, IDLE_MS))
  report({
    title: 'request and answer after 20 ms idle',
    unit: 'µs',
    better: 'lower',
    subject: SHARED,
    lines: names.map((name) => {
      const times = cold[name].flatMap((result) => result.times)
      return { name, value: quantile(times, 0.5), more: { p99: quantile(times, 0.99) } }
    }),
    gates: [{ rival: 'Unix socket (node:net)', atLeast: 1 }],
  })
}

function median(results, field) {
  return quantile(
    results.map((result) => result[field]),
    0.5,
  )
}
