/**
 * `npm run fuzz [-- targets…] [--minutes N]`: random input for every decoder, ten minutes each unless told.
 *
 * The targets in Rust are in the crates' `fuzz` folders and need cargo-fuzz and a nightly compiler; `config` is the check
 * of config files, by fast-check. What a target finds stays in its `artifacts` folder and fails the command.
 */
import { existsSync, readdirSync } from 'node:fs'
import { basename, join } from 'node:path'
import { install } from './lib/install.mjs'
import { root, run } from './lib/process.mjs'
import { main, runSteps, StepError } from './lib/steps.mjs'

const CONFIG = 'config'

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

async function rustTarget(name, folder, seconds, report) {
  const { code, lines, output } = await run(
    'cargo',
    ['+nightly', 'fuzz', 'run', name, '--', `-max_total_time=${seconds}`, '-timeout=10'],
    {
      cwd: folder,
      timeoutMs: (seconds + 1_800) * 1_000,
      onLine: (line) => report(/^#\d+.*cov: \d+/.exec(line)?.[0] ?? ''),
    },
  )
  if (code !== 0 && /no such command: `fuzz`|toolchain 'nightly/.test(output)) {
    throw new StepError(
      'cargo-fuzz and a nightly compiler are needed: rustup toolchain install nightly && cargo install cargo-fuzz',
      output,
    )
  }
  if (code !== 0)
    throw new StepError(`${name} failed; its input is in ${join(folder, 'fuzz', 'artifacts', name)}`, output)
  return lines.findLast((line) => line.startsWith('Done ')) ?? 'done'
}

async function configTarget(seconds) {
  const { code, output } = await run(
    process.execPath,
    [
      join(root, 'node_modules/vitest/vitest.mjs'),
      'run',
      '--config',
      'test/vitest.config.ts',
      'test/config/check.test.ts',
    ],
    { env: { LINKMESH_FUZZ_SECONDS: String(seconds) }, timeoutMs: (seconds + 120) * 1_000 },
  )
  if (code !== 0) throw new StepError('config failed; fast-check names the seed above', output)
}

await main(async () => {
  const args = process.argv.slice(2)
  const at = args.indexOf('--minutes')
  const minutes = at < 0 ? 10 : Number(args.splice(at, 2)[1])
  if (!(minutes > 0)) throw new StepError('--minutes takes a positive number')
  const rust = rustTargets()
  const known = [...rust.keys(), CONFIG]
  const unknown = args.find((name) => !known.includes(name))
  if (unknown !== undefined) throw new StepError(`no fuzz target is called ${unknown}; there are ${known.join(', ')}`)
  const seconds = Math.ceil(minutes * 60)
  const steps = (args.length > 0 ? args : known).map((name) => ({
    name: `fuzz ${name}`,
    run: (report) => (name === CONFIG ? configTarget(seconds) : rustTarget(name, rust.get(name), seconds, report)),
  }))
  await runSteps([install, ...steps])
})
