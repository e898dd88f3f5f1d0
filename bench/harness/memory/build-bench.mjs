/** Builds a bench of the transport crate: `echo` has the rivals in Rust, `handshake` what a handshake costs. */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const built = new Map()

/**
 * @param {'echo' | 'handshake'} name
 * @returns {Promise<string>} path of the program
 * @throws an Error that says what is missing
 */
export function buildBench(name) {
  if (!built.has(name)) built.set(name, build(name))
  return built.get(name)
}

async function build(name) {
  const args = ['bench', '-p', 'linkmesh-transport', '--bench', name, '--no-run', '--message-format', 'json']
  const build = spawnSync('cargo', args, { cwd: root, encoding: 'utf8', maxBuffer: 1 << 28 })
  if (build.error) throw new Error(`cargo: ${build.error.message}`)
  if (build.status !== 0) throw new Error(`it did not build: ${build.stderr.slice(-2_000)}`)
  for (const line of build.stdout.split('\n')) {
    if (!line.includes('"compiler-artifact"')) continue
    const { target, executable } = JSON.parse(line)
    if (target.name === name && executable) return executable
  }
  throw new Error('cargo named no program')
}
