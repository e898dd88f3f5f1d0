/** Memory of another process of this host, which is mapped here. */
import { addon } from '../../native.mjs'
import { report } from '../../report.mjs'
import { median, rounds } from '../rounds.mjs'

/** A single one is too short for the clock. */
const OPERATIONS = 2_000

export async function sameHost(bench) {
  const { random, contenders } = bench
  const { near } = await contenders.get('linkmesh')
  if (near === undefined) {
    process.stdout.write('\n  no memory is shared on this host: its rows are left out\n')
    return
  }
  const empty = (await addon()).floorEmpty
  /** Nanoseconds of one of many. */
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
