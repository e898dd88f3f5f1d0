/** Requests to a service of the other process, 200 bytes: as of one host, and as of two. */
import { report } from '../../report.mjs'
import { counted, latencyLines, rateLines, rounds, timed } from '../rounds.mjs'

const HOST = 'linkmesh, one host'
const QUIC = 'linkmesh, QUIC'

export async function requests(bench) {
  const { ms, contenders } = bench
  const ours = await contenders.get('linkmesh')
  const ways = { ...(ours.near ? { [HOST]: ours.request } : {}), [QUIC]: ours.requestByQuic }
  const racing = Object.fromEntries(Object.entries(ways).map(([name, one]) => [name, timed(one, ours.cpu, ms)]))
  for (const [name, { one, cpu }] of Object.entries(await contenders.some('unix socket', 'node:net')))
    racing[name] = timed(one, cpu, ms)
  const lines = latencyLines(await rounds(bench, racing))
  const many = (one) => (count) => Promise.all(Array.from({ length: count }, () => one()))
  const rates = rateLines(
    await rounds(
      bench,
      Object.fromEntries(Object.entries(ways).map(([name, one]) => [name, counted(many(one), 128, ours.cpu, ms)])),
    ),
  )
  for (const subject of Object.keys(ways)) {
    const near = subject === HOST
    report({
      title: `a request to a service of the other process, 200 bytes (sockets: an echo of 64): ${subject}`,
      unit: 'µs',
      better: 'lower',
      subject,
      lines,
      budget: near ? 5 : 30,
      gates: near ? [{ rival: 'unix socket', atLeast: 10 }] : [],
    })
    report({
      title: `requests a second, 128 at a time: ${subject}`,
      unit: '/s',
      moreUnit: 'µs',
      better: 'higher',
      subject,
      lines: rates,
      budget: near ? 500_000 : 150_000,
    })
  }
}
