/** The process of one suite: runs it, hands its sections to the parent and ends. */
import { generator } from './random.mjs'
import { sections } from './report.mjs'

const quick = process.env.LINKMESH_BENCH_QUICK === '1'
const seed = Number(process.env.LINKMESH_BENCH_SEED)
const { run } = await import(`../suites/${process.argv[2]}.mjs`)
try {
  // Rounds shorter than a time slice of the scheduler: what else runs on the machine then spoils some of them, not the median.
  await run({ quick, random: generator(seed), rounds: quick ? 41 : 251, roundMs: 3 })
} catch (error) {
  process.stderr.write(`${error.stack}\n`)
  process.exitCode = 1
}
process.send?.(sections, () => process.exit())
