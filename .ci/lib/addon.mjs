/** Step: the native addon, `native/linkmesh.<platform-arch-abi>.node`, in release mode. */
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { cache, plain, root, run, version } from './process.mjs'
import { filesIn, hashOf, unlessBuilt } from './stamp.mjs'
import { StepError } from './steps.mjs'

const native = join(root, 'native')

/** Version line of the Rust compiler, or undefined without Rust. */
export const rust = version('cargo') && version('rustc')

/** What to do to get native code, for the one line that says it is missing. */
export const rustHint = 'no Rust here, the TypeScript fallback is used: install it from https://rustup.rs and run again'

/** File names of the addons that are built. */
export const addons = () => (existsSync(native) ? readdirSync(native).filter((name) => name.endsWith('.node')) : [])

/** @type {import('./steps.mjs').Step} */
export const addon = {
  name: 'building the addon (release)',
  async run(report) {
    if (process.env.LINKMESH_NATIVE_PATH) return `skipped: LINKMESH_NATIVE_PATH is ${process.env.LINKMESH_NATIVE_PATH}`
    const hash = hashOf(
      ['Cargo.toml', 'Cargo.lock', 'rust-toolchain.toml', ...filesIn('crates', isInput)],
      [rust ?? '', process.platform, process.arch],
    )
    if (rust === undefined) {
      return addons().length === 0 ? `skipped: ${rustHint}` : 'skipped: no Rust here, the addon that is there is used'
    }
    return unlessBuilt('addon', hash, addons().length === 0 ? ['native'] : [`native/${addons()[0]}`], () =>
      build(report),
    )
  },
}

/** Sources only: tests, benches and fuzz targets do not reach the addon. */
function isInput(path) {
  return !/^crates\/[^/]+\/(tests|benches|fuzz|examples)$/.test(path)
}

async function build(report) {
  // Built aside and moved: writing into a file that a running process has mapped would kill it.
  const aside = join(cache, 'addon')
  rmSync(aside, { recursive: true, force: true })
  const cli = join(root, 'node_modules/@napi-rs/cli/dist/cli.js')
  const args = ['build', '--release', '--platform', '--no-js', '--manifest-path', 'crates/node/Cargo.toml']
  const { code, output } = await run(process.execPath, [cli, ...args, '--output-dir', aside], {
    onLine: (line) => {
      const compiling = /^\s*(Compiling|Building|Finished)\s+([\w-]+)/.exec(plain(line))
      if (compiling) report(compiling[0].trim())
    },
  })
  if (code !== 0)
    throw new StepError(`the addon did not build (exit code ${code}); above is the end of cargo's output`, output)
  const built = readdirSync(aside).filter((name) => name.endsWith('.node'))
  if (built.length === 0) throw new StepError('the build ended well but made no .node file', output)
  mkdirSync(native, { recursive: true })
  for (const name of built) renameSync(join(aside, name), join(native, name))
}
