/** The process of one suite: runs it, hands its sections to the parent and ends. */
import { generator } from './random.mjs'
import { sections } from './report.mjs'

const quick = process.env.LINKMESH_BENCH_QUICK === '1'
const seed = Number(process.env.LINKMESH_BENCH_SEED)
const { run } = await import(`../suites/${process.argv[2]}.mjs`)
try {
  // Long enough for a median of rounds to settle, short enough that the quick run of all suites takes two minutes.
  await run({ quick, random: generator(seed), rounds: quick ? 9 : 31, roundMs: quick ? 15 : 60 })
} catch (error) {
  process.stderr.write(`${error.stack}\n`)
  process.exitCode = 1
}
process.send?.(sections, () => process.exit())
