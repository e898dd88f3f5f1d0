/** Step: the npm packages that package-lock.json names are in node_modules. */
import { existsSync, lstatSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { npm, root } from './process.mjs'
import { StepError } from './steps.mjs'

/** @type {import('./steps.mjs').Step} */
export const install = {
  name: 'installing packages',
  async run() {
    const missing = missingPackage('.')
    if (missing === undefined) return 'up to date'
    const folder = join(root, 'node_modules')
    if (existsSync(folder) && lstatSync(folder).isSymbolicLink()) {
      throw new StepError(`node_modules is a link and lacks ${missing}: install where it points to`)
    }
    const locked = existsSync(join(root, 'package-lock.json'))
    const { code, output } = await npm([locked ? 'ci' : 'install', '--no-audit', '--no-fund'])
    if (code !== 0) throw new StepError(`npm ${locked ? 'ci' : 'install'} failed (exit code ${code})`, output)
  },
}

/**
 * First package of the lock file that is not installed in that version. npm keeps what it installed in
 * `node_modules/.package-lock.json`, so nothing else has to be read. Optional ones may be for another platform.
 *
 * @param {string} folder relative to the repository
 * @returns {string | undefined}
 */
export function missingPackage(folder) {
  const read = (path) => JSON.parse(readFileSync(join(root, folder, path), 'utf8')).packages
  if (!existsSync(join(root, folder, 'node_modules/.package-lock.json'))) return 'every package'
  if (!existsSync(join(root, folder, 'package-lock.json'))) return undefined
  const installed = read('node_modules/.package-lock.json')
  for (const [path, wanted] of Object.entries(read('package-lock.json'))) {
    if (path === '' || wanted.optional || wanted.devOptional || wanted.peer) continue
    if (installed[path]?.version !== wanted.version) return `${path.slice('node_modules/'.length)}@${wanted.version}`
  }
  return undefined
}
