/** `npm start [-- arguments]`: builds what has changed, then runs the storefront through a real mesh. */
import { spawn } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { addon } from './lib/addon.mjs'
import { install } from './lib/install.mjs'
import { root } from './lib/process.mjs'
import { main, runSteps, StepError } from './lib/steps.mjs'
import { javascript } from './lib/typescript.mjs'

await main(async () => {
  await runSteps([install, addon, javascript])
  const program = join(root, 'dist/esm/cli/main.js')
  const folder = join(root, 'examples/storefront')
  const config =
    existsSync(folder) && readdirSync(folder).find((name) => /^linkmesh\.config\.(ts|mjs|json)$/.test(name))
  if (!existsSync(program)) throw new StepError(`${program} is not there: ts/cli/main.ts is missing`)
  if (!config) throw new StepError(`${folder} has no linkmesh.config.{ts,mjs,json}`)
  return attached([program, 'up', join(folder, config), ...process.argv.slice(2)])
})

/** Runs Node on this terminal; its exit code is ours. A signal to us is for it: it drains and ends by itself. */
function attached(args) {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, args, { cwd: root, stdio: 'inherit' })
    // A terminal sends Ctrl-C to both; passing it on again would look like a second one.
    process.on('SIGINT', () => {})
    for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
    child.on('error', (error) => {
      process.stderr.write(`${error.message}\n`)
      resolve(1)
    })
    child.on('close', (code, signal) => resolve(code ?? (signal === 'SIGINT' ? 130 : 1)))
  })
}
