/** Long transfers: 1 MiB beside rivals, 16 MiB by the second. */
import { report } from '../../report.mjs'
import { BULK_BYTES } from '../linkmesh.mjs'
import { latencyLines, rateLines, rounds, timed } from '../rounds.mjs'

export async function large(bench) {
  const { ms, contenders } = bench
  const ours = await contenders.get('linkmesh')
  const racing = { linkmesh: timed(ours.far.large, ours.cpu, ms) }
  for (const [name, { large, cpu }] of Object.entries(await contenders.some('node:net', 'ioredis')))
    racing[name] = timed(large, cpu, ms)
  report({
    title: '1 MiB (node:net carries it there and back)',
    unit: 'µs',
    better: 'lower',
    subject: 'linkmesh',
    lines: latencyLines(await rounds(bench, racing)),
  })
}

export async function bulk(bench) {
  const { ms, contenders } = bench
  const gigabits = (some) => async () => {
    const began = performance.now()
    let done = 0
    while (performance.now() - began < 2 * ms) {
      await some()
      done += BULK_BYTES * 8
    }
    return { rate: done / (performance.now() - began) / 1e6 }
  }
  const { far } = await contenders.get('linkmesh')
  const jumbo = (await contenders.get('linkmesh, jumbo')).far
  const found = await rounds(bench, {
    'read, datagrams of 1452': gigabits(far.bulkRead),
    'write, datagrams of 1452': gigabits(far.bulkWrite),
    'read, datagrams of 9000': gigabits(jumbo.bulkRead),
    'write, datagrams of 9000': gigabits(jumbo.bulkWrite),
  })
  for (const line of rateLines(found))
    report({
      title: `16 MiB over QUIC, ${line.name}`,
      unit: 'Gb/s',
      better: 'higher',
      subject: line.name,
      lines: [line],
      budget: line.name.endsWith('9000') ? 11 : 6,
    })
}
