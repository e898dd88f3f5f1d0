/** One operation at a time: of a peer that is hot, and of one that sleeps. */
import { setTimeout as sleep } from 'node:timers/promises'
import { quantile } from '../../measure.mjs'
import { report } from '../../report.mjs'
import { latencyLines, rounds, timed } from '../rounds.mjs'

export async function hot(bench) {
  const { ms, contenders } = bench
  const ours = await contenders.get('linkmesh')
  const racing = {
    'linkmesh, awaited': timed(ours.far.one, ours.cpu, ms),
    'linkmesh, readSync': timed(ours.far.sync, ours.cpu, ms),
    'linkmesh, fetchAdd': timed(ours.far.add, ours.cpu, ms),
  }
  const rivals = await contenders.some('node:net', 'unix socket', 'node:dgram', 'quinn through napi', 'ioredis')
  for (const [name, { one, cpu }] of Object.entries(rivals)) racing[name] = timed(one, cpu, ms)
  const natives = await contenders.some('raw UDP, spinning', 'raw UDP, blocking', 'plain quinn in Rust')
  for (const [name, { hot }] of Object.entries(natives)) racing[name] = () => hot(ms)
  const lines = latencyLines(await rounds(bench, racing))
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

export async function sleepy(bench) {
  const { quick, contenders } = bench
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
  const racing = { linkmesh: slow((await contenders.get('linkmesh')).far.one) }
  for (const [name, { one }] of Object.entries(await contenders.some('node:net', 'ioredis'))) racing[name] = slow(one)
  report({
    title: 'one read each 5 ms',
    unit: 'µs',
    better: 'lower',
    subject: 'linkmesh',
    lines: latencyLines(await rounds({ ...bench, rounds: quick ? 3 : 9 }, racing)),
    gates: [{ rival: 'node:net', atLeast: 1 }],
  })
}
