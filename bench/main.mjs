/**
 * Runs benches one after the other, each in a process of its own, and keeps the results as dated JSON.
 *
 *   node bench/main.mjs [names…] [--quick] [--seed N] [--only parts]
 *
 * `--only` takes some parts of a suite that has parts, by name: `memory --only hot,bulk`.
 */
import { fork, spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { cpus, loadavg, totalmem } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const here = fileURLToPath(new URL('.', import.meta.url))
const names = readdirSync(join(here, 'suites')).map((file) => file.replace(/\.mjs$/, ''))
/** What a quick look takes unless it is told: as much as fits into two minutes. */
const LOOK = ['crossings', 'views', 'routing', 'request', 'workers', 'gateway']
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    quick: { type: 'boolean', default: false },
    seed: { type: 'string', default: '1' },
    only: { type: 'string', default: '' },
  },
})
/** Names of several at once. */
const TOGETHER = { router: ['routing', 'routing-scale', 'request'] }
const asked = positionals.flatMap((name) => TOGETHER[name] ?? [name])
const unknown = asked.find((name) => !names.includes(name))
if (unknown || !/^\d+$/.test(values.seed)) {
  process.stderr.write(
    `${unknown ? `no bench is called ${unknown}` : '--seed is a number'}; there are ${[...names, ...Object.keys(TOGETHER)].join(', ')}\n`,
  )
  process.exit(2)
}

const began = new Date()
const commit = spawnSync('git', ['describe', '--always', '--dirty'], { cwd: here, encoding: 'utf8' }).stdout?.trim()
const machine = { cpu: cpus()[0]?.model, cores: cpus().length, memoryGb: Math.round(totalmem() / 2 ** 30) }
const results = {
  date: began.toISOString(),
  commit,
  node: process.version,
  platform: `${process.platform}-${process.arch}`,
  machine,
}
process.stdout.write(
  `linkmesh benches, ${results.date}, ${commit}, Node ${process.version}, ${machine.cores} × ${machine.cpu}\n`,
)
process.stdout.write(
  `seed ${values.seed}${values.quick ? ', quick: fewer and shorter rounds, figures are rough' : ''}\n`,
)

const suites = {}
let failed = false
const wanted = asked.length > 0 ? asked : values.quick ? LOOK : names
const rest = names.filter((name) => !wanted.includes(name))
if (asked.length === 0 && rest.length > 0) process.stdout.write(`by name: ${rest.join(', ')}\n`)
for (const name of wanted) {
  const load = loadavg()[0]
  process.stdout.write(`\n━━ ${name} (load ${load.toFixed(1)}) ━━\n`)
  const outcome = await runSuite(name)
  suites[name] = { load, ...outcome }
  failed ||= outcome.exitCode !== 0
}

const missed = Object.entries(suites).flatMap(([name, { sections = [] }]) =>
  sections.flatMap(({ title, verdicts }) =>
    verdicts.filter(({ met }) => !met).map(({ text }) => `${name}: ${title}: ${text}`),
  ),
)
const verdict = missed.length > 0 ? ['missed:', ...missed.map((line) => `  ${line}`)] : ['every budget met']
// What did not come to its end has met nothing.
if (failed) process.stdout.write('\na bench did not come to its end\n')
if (!failed || missed.length > 0) process.stdout.write(`\n${verdict.join('\n')}\n`)

// Quick figures are for a look, not for the record.
const folder = values.quick || values.only ? join(here, '../.cache/bench') : join(here, 'results')
mkdirSync(folder, { recursive: true })
const file = join(folder, `${began.toISOString().replaceAll(':', '-').slice(0, 19)}Z.json`)
writeFileSync(
  file,
  `${JSON.stringify({ ...results, seed: Number(values.seed), quick: values.quick, suites }, null, 2)}\n`,
)
process.stdout.write(`${file}\n`)
process.exitCode = failed ? 1 : 0

/** @returns {Promise<{ exitCode: number, sections?: object[] }>} */
function runSuite(name) {
  return new Promise((resolve) => {
    const env = {
      ...process.env,
      LINKMESH_BENCH_QUICK: values.quick ? '1' : '',
      LINKMESH_BENCH_SEED: values.seed,
      LINKMESH_BENCH_ONLY: values.only,
    }
    const child = fork(join(here, 'harness/suite.mjs'), [name], { env, execArgv: ['--expose-gc'] })
    let sections
    child.on('message', (message) => {
      sections = message
    })
    child.on('exit', (code) => resolve({ exitCode: code ?? 1, sections }))
  })
}
