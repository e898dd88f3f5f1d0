/** Many reads under way: in one frame, or with a promise each. */
import { report } from '../../report.mjs'
import { counted, rateLines, rounds } from '../rounds.mjs'

export async function many(bench) {
  const { ms, contenders } = bench
  const ours = await contenders.get('linkmesh')
  const { ioredis, 'node:net': socket } = await contenders.some('ioredis', 'node:net')
  const quinn = await contenders.get('plain quinn in Rust')
  for (const count of [64, 256]) {
    const racing = {
      'linkmesh, batch': counted(ours.far.batch, count, ours.cpu, ms),
      'linkmesh, a promise each': counted(ours.far.many, count, ours.cpu, ms),
    }
    if (ioredis) {
      racing['ioredis, pipelined'] = counted(ioredis.pipelined, count, ioredis.cpu, ms)
      racing['ioredis, a promise each'] = counted(ioredis.many, count, ioredis.cpu, ms)
    }
    if (socket) racing['node:net, one write'] = counted(socket.many, count, socket.cpu, ms)
    if (quinn) racing['plain quinn in Rust'] = () => quinn.rate(count, ms)
    const lines = rateLines(await rounds(bench, racing))
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
