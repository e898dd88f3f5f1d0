/** Runs the Rust tests and counts. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { rust, rustHint } from './addon.mjs'
import { Counts, cargoCounts } from './counts.mjs'
import { root, run } from './process.mjs'
import { filesIn } from './stamp.mjs'

// Models explore every interleaving: optimise, but do not pay for link-time optimisation.
const MODEL_PROFILE = { CARGO_PROFILE_RELEASE_LTO: 'off', CARGO_PROFILE_RELEASE_CODEGEN_UNITS: '16' }

/**
 * Unit, integration and doc tests of the workspace, then the loom and shuttle models of each crate that has them.
 *
 * @param {(name: string) => void} announce called before each run
 * @returns {Promise<Counts>}
 */
export async function cargoTests(announce) {
  const counts = new Counts()
  if (rust === undefined) {
    counts.skip(`Rust tests: ${rustHint}`, testsInSources())
    return counts
  }
  const test = async (name, args, env) => {
    announce(name)
    counts.add(cargoCounts(name, await run('cargo', ['test', '--color=never', ...args], { env, show: true })))
  }
  await test('cargo test', ['--workspace', '--no-fail-fast'])
  for (const model of ['loom', 'shuttle']) {
    for (const crate of cratesThatNeed(model)) {
      await test(`${model} of ${crate}`, ['-p', `linkmesh-${crate}`, '--release', '--test', model], {
        ...MODEL_PROFILE,
        RUSTFLAGS: `--cfg ${model}`,
        // Other flags mean another build: a folder of its own keeps the two from undoing each other.
        CARGO_TARGET_DIR: join(process.env.CARGO_TARGET_DIR ?? join(root, 'target'), model),
        LOOM_MAX_PREEMPTIONS: process.env.LOOM_MAX_PREEMPTIONS ?? '3',
      })
    }
  }
  return counts
}

/** Crates whose models exist only under `--cfg loom` or `--cfg shuttle`; models of another kind ran with all other tests. */
function cratesThatNeed(model) {
  return readdirSync(join(root, 'crates')).filter((crate) => {
    const models = join(root, 'crates', crate, 'tests', `${model}.rs`)
    return existsSync(models) && readFileSync(models, 'utf8').includes(`#![cfg(${model})]`)
  })
}

/** How many `#[test]` functions there are, for the count of what could not run. */
function testsInSources() {
  const sources = filesIn('crates').filter((path) => path.endsWith('.rs'))
  return sources.reduce((sum, path) => sum + readFileSync(join(root, path), 'utf8').split('#[test]').length - 1, 0)
}
