/**
 * `node .ci/release.mjs ARTIFACTS OUT`: from built addons to folders that can be published.
 *
 * `OUT/platforms/<platform>` holds `@linkmesh/<platform>` (one binary, installed only where it fits) and `OUT/linkmesh`
 * the package itself, which names them as optional dependencies. Refuses when a target is missing or a file is not
 * what its name says: a glibc binary in a musl package is only noticed by the people who install it.
 */
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { binaryProblem, platformOf } from './lib/binary.mjs'
import { root } from './lib/process.mjs'
import { main, runSteps, StepError } from './lib/steps.mjs'
import { declarations, javascript } from './lib/typescript.mjs'

const [artifacts, out] = process.argv.slice(2)

await main(async () => {
  if (!artifacts || !out) throw new StepError('usage: node .ci/release.mjs ARTIFACTS OUT')
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  if (!manifest.repository) throw new StepError('package.json has no "repository": provenance is checked against it')
  rmSync(out, { recursive: true, force: true })
  const optionalDependencies = {}
  for (const target of manifest.napi.targets) {
    const name = stagePlatform(manifest, platformOf(target))
    optionalDependencies[name] = manifest.version
  }
  await runSteps([javascript, declarations])
  stageMain({ ...manifest, optionalDependencies })
})

/** @returns {string} name of the package */
function stagePlatform(manifest, platform) {
  const file = `linkmesh.${platform.name}.node`
  const from = join(artifacts, file)
  if (!existsSync(from)) throw new StepError(`${from} is missing: nothing is released without every target`)
  const problem = binaryProblem(readFileSync(from), platform)
  if (problem) throw new StepError(`${from}: ${problem}`)
  const folder = join(out, 'platforms', platform.name)
  mkdirSync(folder, { recursive: true })
  cpSync(from, join(folder, file))
  cpSync(join(root, 'LICENSE'), join(folder, 'LICENSE'))
  const { version, license, repository, engines } = manifest
  const name = `@linkmesh/${platform.name}`
  const { os, cpu, libc } = platform
  const fits = { os: [os], cpu: [cpu], ...(libc && { libc: [libc] }) }
  const description = `The native part of linkmesh for ${platform.name}.`
  write(folder, { name, version, description, license, repository, engines, ...fits, main: file, files: [file] })
  return name
}

function stageMain(manifest) {
  const folder = join(out, 'linkmesh')
  for (const entry of manifest.files.filter((name) => name !== 'native')) {
    cpSync(join(root, entry), join(folder, entry), { recursive: true })
  }
  const { scripts: _, devDependencies: __, napi: ___, ...published } = manifest
  write(folder, { ...published, files: manifest.files.filter((name) => name !== 'native') })
}

function write(folder, manifest) {
  writeFileSync(join(folder, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`)
}
