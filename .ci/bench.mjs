/** `npm run bench [names…] [-- --quick]`: builds what has changed, brings the rivals, and measures. */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { addon } from './lib/addon.mjs'
import { install, missingPackage } from './lib/install.mjs'
import { npm, root } from './lib/process.mjs'
import { main, runSteps, StepError } from './lib/steps.mjs'
import { javascript } from './lib/typescript.mjs'

/** @type {import('./lib/steps.mjs').Step} */
const rivals = {
  name: 'installing the rivals (bench/package.json)',
  async run() {
    if (missingPackage('bench') === undefined) return 'up to date'
    const { code, output } = await npm(['ci', '--no-audit', '--no-fund'], { cwd: join(root, 'bench'), env: headers() })
    if (code !== 0) throw new StepError('the rivals did not install', output)
  },
}

/** A rival whose prebuilt binary cannot be had is compiled: with the headers of this Node when they came with it. */
function headers() {
  const prefix = dirname(dirname(process.execPath))
  return existsSync(join(prefix, 'include/node/node.h')) ? { npm_config_nodedir: prefix } : {}
}

await main(async () => {
  await runSteps([install, addon, javascript, rivals])
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [join(root, 'bench/main.mjs'), ...process.argv.slice(2)], {
      cwd: root,
      stdio: 'inherit',
    })
    child.on('close', (code) => resolve(code ?? 1))
  })
})
