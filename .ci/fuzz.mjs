/**
 * `npm run fuzz [-- targets…] [--minutes N | --seconds N] [--jobs N]`: random input for every decoder, ten minutes each unless
 * told, as many at a time as there are cores.
 *
 * The targets in Rust are in the crates' `fuzz` folders and need cargo-fuzz and a nightly compiler; `config` is the check
 * of config files, by fast-check. What a target finds stays in its `artifacts` folder and fails the command; what it has
 * learnt stays in its `corpus` and is where the next run begins.
 */
import { existsSync, readdirSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { basename, join } from 'node:path'
import { parseArgs } from 'node:util'
import { install } from './lib/install.mjs'
import { root, run } from './lib/process.mjs'
import { main, runSteps, StepError } from './lib/steps.mjs'

const CONFIG = 'config'
/** Longest inputs, bytes, where a decoder takes more than libFuzzer's 4 KiB. */
const LENGTHS = { decompress: 65_536, frames: 70_000, server: 16_384, hello: 16_384, replica: 8_192, exchange: 8_192 }

/** @returns {Map<string, string>} crate folder by target */
function rustTargets() {
  const found = new Map()
  const crates = join(root, 'crates')
  for (const crate of readdirSync(crates)) {
    const folder = join(crates, crate, 'fuzz', 'fuzz_targets')
    if (!existsSync(folder)) continue
    for (const file of readdirSync(folder))
      if (file.endsWith('.rs')) found.set(basename(file, '.rs'), join(crates, crate))
  }
  return found
}

/** @returns {import('./lib/steps.mjs').Step} */
function building(folder) {
  return {
    name: `building the fuzz targets of ${basename(folder)}`,
    async run() {
      const { code, output } = await run('cargo', ['+nightly', 'fuzz', 'build'], { cwd: folder, timeoutMs: 3_600_000 })
      if (code === 0) return
      if (/no such command: `fuzz`|toolchain 'nightly/.test(output))
        throw new StepError(
          'cargo-fuzz and a nightly compiler are needed: rustup toolchain install nightly && cargo install cargo-fuzz',
          output,
        )
      throw new StepError(`the fuzz targets of ${folder} do not compile`, output)
    },
  }
}

async function rustTarget(name, folder, seconds, report) {
  const limits = [`-max_total_time=${seconds}`, '-timeout=25', `-max_len=${LENGTHS[name] ?? 4_096}`]
  const { code, lines, output } = await run('cargo', ['+nightly', 'fuzz', 'run', name, '--', ...limits], {
    cwd: folder,
    timeoutMs: (seconds + 1_800) * 1_000,
    onLine: (line) => report(/^#\d+.*cov: \d+/.exec(line)?.[0]),
  })
  if (code !== 0)
    throw new StepError(`${name} failed; its input is in ${join(folder, 'fuzz', 'artifacts', name)}`, output)
  const coverage = lines.map((line) => /\bcov: (\d+)/.exec(line)?.[1]).findLast((found) => found !== undefined)
  return `${lines.findLast((line) => line.startsWith('Done ')) ?? 'done'}, ${coverage} edges`
}

async function configTarget(seconds) {
  const vitest = join(root, 'node_modules/vitest/vitest.mjs')
  const args = [vitest, 'run', '--config', 'test/vitest.config.ts', 'test/config/check.test.ts']
  const env = { LINKMESH_FUZZ_SECONDS: String(seconds) }
  const { code, output } = await run(process.execPath, args, { env, timeoutMs: (seconds + 120) * 1_000 })
  if (code !== 0) throw new StepError('config failed; fast-check names the seed above', output)
  return `fast-check for ${seconds} s`
}

/** Runs all, so many at a time; the first failure is thrown when the others have had their time. */
async function fuzz(targets, jobs, one, report) {
  const results = new Map()
  const waiting = [...targets]
  let failure
  const worker = async () => {
    for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) {
      try {
        results.set(name, await one(name, (line) => line && report(`${name} ${line}`)))
      } catch (error) {
        failure ??= error
        results.set(name, error.message)
      }
    }
  }
  await Promise.all(Array.from({ length: jobs }, worker))
  for (const [name, result] of results) process.stdout.write(`${name.padEnd(16)}${result}\n`)
  if (failure !== undefined) throw failure
}

function positive(text, name) {
  const value = Number(text)
  if (!(value > 0)) throw new StepError(`--${name} takes a positive number`)
  return value
}

await main(async () => {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { minutes: { type: 'string', default: '10' }, seconds: { type: 'string' }, jobs: { type: 'string' } },
  })
  const rust = rustTargets()
  const known = [...rust.keys(), CONFIG]
  const unknown = positionals.find((name) => !known.includes(name))
  if (unknown !== undefined) throw new StepError(`no fuzz target is called ${unknown}; there are ${known.join(', ')}`)
  const seconds = Math.ceil(
    values.seconds === undefined ? 60 * positive(values.minutes, 'minutes') : positive(values.seconds, 'seconds'),
  )
  const jobs = Math.ceil(positive(values.jobs ?? availableParallelism(), 'jobs'))
  const targets = positionals.length > 0 ? positionals : known
  const folders = new Set(targets.map((name) => rust.get(name)).filter((folder) => folder !== undefined))
  const one = (name, report) =>
    name === CONFIG ? configTarget(seconds) : rustTarget(name, rust.get(name), seconds, report)
  await runSteps([
    install,
    ...[...folders].map(building),
    {
      name: `fuzzing ${targets.length} targets, ${seconds} s each, ${Math.min(jobs, targets.length)} at a time`,
      run: (report) => fuzz(targets, jobs, one, report),
    },
  ])
})
