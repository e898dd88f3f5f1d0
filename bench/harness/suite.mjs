/** The process of one suite: runs it, hands its sections to the parent and ends. */
import { generator } from './random.mjs'
import { sections } from './report.mjs'

const quick = process.env.LINKMESH_BENCH_QUICK === '1'
const seed = Number(process.env.LINKMESH_BENCH_SEED)
const { run, parts = {} } = await import(`../suites/${process.argv[2]}.mjs`)
const only = process.env.LINKMESH_BENCH_ONLY ? process.env.LINKMESH_BENCH_ONLY.split(',') : undefined
try {
  const unknown = only?.find((name) => !(name in parts))
  if (unknown) throw new Error(`no part is called ${unknown}; there are ${Object.keys(parts).join(', ') || 'none'}`)
  // Rounds shorter than a time slice of the scheduler: what else runs on the machine then spoils some of them, not the median.
  await run({ quick, random: generator(seed), rounds: quick ? 41 : 251, roundMs: 3, only })
} catch (error) {
  process.stderr.write(`${error.stack}\n`)
  process.exitCode = 1
}
process.send?.(sections, () => process.exit())
