/** Compiles the floor addon with the system's C++ compiler and the headers that came with this Node. */
import { existsSync, mkdirSync, renameSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { run } from '../../.ci/lib/process.mjs'

const here = dirname(fileURLToPath(import.meta.url))
const target = join(here, 'build', `floor.${process.platform}-${process.arch}.node`)

/**
 * @returns {Promise<string>} path of the addon
 * @throws an Error that says what is missing
 */
export async function buildFloor() {
  const source = join(here, 'floor.cc')
  if (existsSync(target) && statSync(target).mtimeMs > statSync(source).mtimeMs) return target

  const node = nodeHeaders()
  if (node === undefined)
    throw new Error(`no Node headers beside ${process.execPath}: set LINKMESH_NODE_HEADERS to an include/node folder`)
  const wrapper = join(here, '../node_modules/node-addon-api')
  const compiler = process.env.CXX ?? 'c++'
  const platform = process.platform === 'darwin' ? ['-bundle', '-undefined', 'dynamic_lookup'] : ['-shared']
  mkdirSync(dirname(target), { recursive: true })
  const args = [
    ...['-O3', '-flto', '-std=c++17', '-fPIC', '-fvisibility=hidden', '-DNDEBUG', '-DNAPI_DISABLE_CPP_EXCEPTIONS'],
  ]
  const { code, output } = await run(compiler, [
    ...args,
    ...platform,
    `-I${node}`,
    `-I${wrapper}`,
    source,
    '-o',
    `${target}.new`,
  ])
  if (code !== 0) throw new Error(`${compiler} could not build the floor:\n${output}`)
  renameSync(`${target}.new`, target)
  return target
}

/** `include/node` of the running Node, which its installers and archives bring along. */
function nodeHeaders() {
  const beside = join(dirname(dirname(process.execPath)), 'include/node')
  return [process.env.LINKMESH_NODE_HEADERS, beside].find((folder) => folder && existsSync(join(folder, 'node_api.h')))
}
