/**
 * Memory of another process beside what else carries 64 bytes there and back: every contender has a process of its own on
 * this machine, and all take turns in shuffled rounds. Figures are medians of the rounds.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { quantile } from '../harness/measure.mjs'
import { buildEcho } from '../harness/memory/build-echo.mjs'
import { dgram, native, net, quinnNapi, redis } from '../harness/memory/contenders.mjs'
import { BULK_BYTES, linkmesh } from '../harness/memory/linkmesh.mjs'
import { addon } from '../harness/native.mjs'
import { shuffled } from '../harness/random.mjs'
import { report } from '../harness/report.mjs'

export async function run({ quick, random }) {
  const folder = mkdtempSync(join(tmpdir(), 'linkmesh-bench-sockets-'))
  const ours = await linkmesh()
  const others = {}
  const start = async (name, make) => {
    try {
      others[name] = await make()
    } catch (error) {
      process.stdout.write(`  ${name} is left out: ${error.message}\n`)
    }
  }
  await start('node:net', () => net())
  await start('unix socket', () => net(join(folder, 'echo')))
  await start('node:dgram', dgram)
  await start('quinn through napi', quinnNapi)
  await start('ioredis', redis)
  const natives = {}
  try {
    const program = await buildEcho()
    for (const [name, kind] of [
      ['raw UDP, spinning', 'udp'],
      ['raw UDP, blocking', 'udp-block'],
      ['plain quinn in Rust', 'quinn'],
    ])
      natives[name] = await native(program, kind)
  } catch (error) {
    process.stdout.write(`  the rivals in Rust are left out: ${error.message}\n`)
  }

  const bench = { quick, random, rounds: quick ? 5 : 21, ms: quick ? 100 : 250, ours, others, natives }
  try {
    await hot(bench)
    await sleepy(bench)
    await many(bench)
    await large(bench)
    if (ours.near === undefined) process.stdout.write('\n  no memory is shared on this host: those rows are left out\n')
    else await sameHost(bench)
    await requests(bench)
  } finally {
    for (const one of [...Object.values(others), ...Object.values(natives), ours]) await one.close()
    rmSync(folder, { recursive: true, force: true })
  }
  process.stdout.write(
    '\n  handshakes and idle connections: cargo bench -p linkmesh-transport --bench handshake, --bench echo -- idle 10000\n',
  )
}

/** Rounds of every contender in shuffled order; the first two warm up and do not count. */
async function rounds({ rounds, random }, contenders) {
  const results = Object.fromEntries(Object.keys(contenders).map((name) => [name, []]))
  for (let round = -2; round < rounds; round++)
    for (const name of shuffled(Object.keys(contenders), random)) {
      const result = await contenders[name]()
      if (round >= 0) results[name].push(result)
    }
  return results
}

const median = (results, field) =>
  quantile(
    results.map((result) => result[field]),
    0.5,
  )

/** Times single operations for so long, µs, and the processor time that each took in both processes. */
function timed(one, cpu, ms) {
  return async () => {
    const times = []
    const before = await cpu()
    const until = performance.now() + ms
    for (let now = performance.now(); now < until; ) {
      await one()
      const then = performance.now()
      times.push((then - now) * 1_000)
      now = then
    }
    const used = (await cpu()) - before
    return { p50: quantile(times, 0.5), p99: quantile(times, 0.99), cpu: used / times.length }
  }
}

/** Operations a second, `count` of them at a time, for so long. */
function counted(some, count, cpu, ms) {
  return async () => {
    let done = 0
    const before = await cpu()
    const began = performance.now()
    while (performance.now() - began < ms) {
      await some(count)
      done += count
    }
    const elapsed = performance.now() - began
    return { rate: (done * 1_000) / elapsed, cpu: ((await cpu()) - before) / done }
  }
}

const latencyLines = (results) =>
  Object.entries(results).map(([name, found]) => ({
    name,
    value: median(found, 'p50'),
    more: { p99: median(found, 'p99'), ...cpuOf(found) },
  }))
const rateLines = (results) =>
  Object.entries(results).map(([name, found]) => ({ name, value: median(found, 'rate'), more: cpuOf(found) }))
const cpuOf = (found) => (found[0].cpu === undefined ? {} : { cpu: median(found, 'cpu') })

async function hot(bench) {
  const { ms, ours, others, natives } = bench
  const contenders = {
    'linkmesh, awaited': timed(ours.far.one, ours.cpu, ms),
    'linkmesh, readSync': timed(ours.far.sync, ours.cpu, ms),
    'linkmesh, fetchAdd': timed(ours.far.add, ours.cpu, ms),
  }
  for (const [name, { one, cpu }] of Object.entries(others)) contenders[name] = timed(one, cpu, ms)
  for (const [name, { hot }] of Object.entries(natives)) contenders[name] = () => hot(ms)
  const lines = latencyLines(await rounds(bench, contenders))
  const shared = { unit: 'µs', better: 'lower' }
  report({
    ...shared,
    title: '64 bytes of another process, one read right after the other (cpu: of both processes, each)',
    subject: 'linkmesh, awaited',
    lines,
    gates: [
      { rival: 'raw UDP, spinning', atMostTimes: 2.3 },
      { rival: 'node:net', atLeast: 5 },
      { rival: 'quinn through napi', atLeast: 5 },
      { rival: 'ioredis', atLeast: 3 },
    ],
  })
  const some = (...names) => lines.filter(({ name }) => names.includes(name))
  report({
    ...shared,
    title: 'the same, within the call',
    subject: 'linkmesh, readSync',
    lines: some('linkmesh, readSync', 'raw UDP, spinning'),
    gates: [{ rival: 'raw UDP, spinning', atMostTimes: 2.1 }],
  })
  report({
    ...shared,
    title: 'fetch-and-add beside a read',
    subject: 'linkmesh, fetchAdd',
    lines: some('linkmesh, fetchAdd', 'linkmesh, awaited'),
    gates: [{ rival: 'linkmesh, awaited', atMostTimes: 1.2 }],
  })
}

async function sleepy(bench) {
  const { quick, ours, others } = bench
  const slow = (one) => async () => {
    const times = []
    for (let sample = 0; sample < (quick ? 10 : 40); sample++) {
      await sleep(5)
      const began = performance.now()
      await one()
      times.push((performance.now() - began) * 1_000)
    }
    return { p50: quantile(times, 0.5), p99: quantile(times, 0.99) }
  }
  const contenders = { linkmesh: slow(ours.far.one) }
  for (const name of ['node:net', 'ioredis']) if (others[name]) contenders[name] = slow(others[name].one)
  report({
    title: 'one read each 5 ms',
    unit: 'µs',
    better: 'lower',
    subject: 'linkmesh',
    lines: latencyLines(await rounds({ ...bench, rounds: quick ? 3 : 9 }, contenders)),
    gates: [{ rival: 'node:net', atLeast: 1 }],
  })
}

async function many(bench) {
  const { ms, ours, others, natives } = bench
  for (const count of [64, 256]) {
    const contenders = {
      'linkmesh, batch': counted(ours.far.batch, count, ours.cpu, ms),
      'linkmesh, a promise each': counted(ours.far.many, count, ours.cpu, ms),
    }
    const { ioredis, 'node:net': socket } = others
    if (ioredis) {
      contenders['ioredis, pipelined'] = counted(ioredis.pipelined, count, ioredis.cpu, ms)
      contenders['ioredis, a promise each'] = counted(ioredis.many, count, ioredis.cpu, ms)
    }
    if (socket) contenders['node:net, one write'] = counted(socket.many, count, socket.cpu, ms)
    const quinn = natives['plain quinn in Rust']
    if (quinn) contenders['plain quinn in Rust'] = () => quinn.rate(count, ms)
    const lines = rateLines(await rounds(bench, contenders))
    report({
      title: `64-byte reads a second, ${count} at a time`,
      unit: '/s',
      moreUnit: 'µs',
      better: 'higher',
      subject: 'linkmesh, batch',
      lines,
      budget: count === 64 ? 1_500_000 : 2_300_000,
      gates: [{ rival: 'ioredis, pipelined', atLeast: 3 }],
    })
    report({
      title: `the same, a promise each, ${count} at a time`,
      unit: '/s',
      moreUnit: 'µs',
      better: 'higher',
      subject: 'linkmesh, a promise each',
      lines: lines.filter(({ name }) => name.endsWith('a promise each')),
      ...(count === 64 ? { budget: 600_000 } : {}),
    })
  }
}

async function large(bench) {
  const { ms, ours, others } = bench
  const contenders = { linkmesh: timed(ours.far.large, ours.cpu, ms) }
  for (const name of ['node:net', 'ioredis'])
    if (others[name]) contenders[name] = timed(others[name].large, others[name].cpu, ms)
  report({
    title: '1 MiB (node:net carries it there and back)',
    unit: 'µs',
    better: 'lower',
    subject: 'linkmesh',
    lines: latencyLines(await rounds(bench, contenders)),
  })
  const gigabits = (some) => async () => {
    const began = performance.now()
    let done = 0
    while (performance.now() - began < 2 * ms) {
      await some()
      done += BULK_BYTES * 8
    }
    return { rate: done / (performance.now() - began) / 1e6 }
  }
  const found = await rounds(bench, {
    'linkmesh, read': gigabits(ours.far.bulkRead),
    'linkmesh, write': gigabits(ours.far.bulkWrite),
  })
  for (const subject of ['linkmesh, read', 'linkmesh, write'])
    report({
      title: `16 MiB over QUIC, ${subject.slice(10)}`,
      unit: 'Gb/s',
      better: 'higher',
      subject,
      lines: rateLines(found).filter(({ name }) => name === subject),
      budget: 6,
    })
}

async function sameHost(bench) {
  const { random, ours } = bench
  const { near } = ours
  const empty = (await addon()).floorEmpty
  /** Nanoseconds of one of many: a single one is too short for the clock. */
  const OPERATIONS = 2_000
  const sync = (one) => async () => {
    const began = performance.now()
    for (let at = 0; at < OPERATIONS; at++) one()
    return { p50: ((performance.now() - began) * 1e6) / OPERATIONS }
  }
  const awaited = (some) => async () => {
    const began = performance.now()
    await some(OPERATIONS)
    return { p50: ((performance.now() - began) * 1e6) / OPERATIONS }
  }
  const found = await rounds(
    { random, rounds: bench.quick ? 41 : 251 },
    {
      readSync: sync(near.sync),
      'awaited read': awaited(near.reads),
      'atomic within the call': sync(near.swap),
      'awaited atomic': awaited(near.adds),
      'an empty crossing': sync(() => empty(0)),
    },
  )
  const lines = Object.entries(found).map(([name, results]) => ({ name, value: median(results, 'p50') }))
  for (const [subject, budget, gates] of [
    ['readSync', 150, [{ rival: 'an empty crossing', atMostTimes: 4 }]],
    ['awaited read', 500, []],
    ['atomic within the call', 250, []],
  ])
    report({
      title: `mapped memory of another process of this host, 64 bytes: ${subject}`,
      unit: 'ns',
      better: 'lower',
      subject,
      lines,
      budget,
      gates,
    })
}

async function requests(bench) {
  const { ms, ours, others } = bench
  const many = (count) => Promise.all(Array.from({ length: count }, () => ours.request()))
  const contenders = { linkmesh: timed(ours.request, ours.cpu, ms) }
  for (const name of ['unix socket', 'node:net'])
    if (others[name]) contenders[name] = timed(others[name].one, others[name].cpu, ms)
  report({
    title: 'a request to a service of the other process, 200 bytes (sockets: an echo of 64)',
    unit: 'µs',
    better: 'lower',
    subject: 'linkmesh',
    lines: latencyLines(await rounds(bench, contenders)),
    budget: ours.near ? 5 : 30,
    gates: ours.near ? [{ rival: 'unix socket', atLeast: 10 }] : [],
    note: 'between nodes of two hosts the goal is 30 µs',
  })
  report({
    title: 'requests a second, 128 at a time',
    unit: '/s',
    moreUnit: 'µs',
    better: 'higher',
    subject: 'linkmesh',
    lines: rateLines(await rounds(bench, { linkmesh: counted(many, 128, ours.cpu, ms) })),
    budget: ours.near ? 500_000 : 150_000,
    note: 'between nodes of two hosts the goal is 150,000 /s',
  })
}
