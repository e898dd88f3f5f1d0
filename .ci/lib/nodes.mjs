/** Node.js versions from npm, kept in `.cache/nodes`. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { cache, npm, version } from './process.mjs'
import { StepError } from './steps.mjs'

/** The major versions that linkmesh is tested with. */
export const NODE_MAJORS = ['20', '22', '24', '26']

const binary = process.platform === 'win32' ? 'node.exe' : 'node'
const pathOf = (major) => join(cache, 'nodes', major, 'node_modules/node/bin', binary)

/** @typedef {{ version: string, path: string }} NodeVersion */

/**
 * The running Node and those that were installed before; asks nobody.
 *
 * @returns {NodeVersion[]}
 */
export function availableNodes() {
  const installed = NODE_MAJORS.map(pathOf).filter((path) => existsSync(path))
  return [
    { version: process.version, path: process.execPath },
    ...installed.map((path) => ({ version: version(path), path })),
  ].filter((node, index, all) => node.version && all.findIndex((other) => other.version === node.version) === index)
}

/**
 * @param {string} major
 * @returns {Promise<NodeVersion>} the running one when it is of that major version, else one from npm
 */
export async function nodeOf(major) {
  if (process.versions.node.split('.')[0] === major) return { version: process.version, path: process.execPath }
  const path = pathOf(major)
  if (version(path) === undefined) {
    const folder = join(cache, 'nodes', major)
    mkdirSync(folder, { recursive: true })
    writeFileSync(join(folder, 'package.json'), '{ "private": true }\n')
    const { code, output } = await npm(['install', '--no-audit', '--no-fund', `node@${major}`], { cwd: folder })
    if (code !== 0) throw new StepError(`node@${major} did not install`, output)
  }
  const found = version(path)
  if (found === undefined)
    throw new StepError(`node@${major} installed no program for ${process.platform}-${process.arch}`)
  return { version: found, path }
}
