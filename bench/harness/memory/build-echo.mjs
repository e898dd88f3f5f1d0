/** Builds the bench of the transport crate, which has the rivals in Rust: raw UDP and plain quinn. */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../../..', import.meta.url))

/**
 * @returns {Promise<string>} path of the program
 * @throws an Error that says what is missing
 */
export async function buildEcho() {
  const args = ['bench', '-p', 'linkmesh-transport', '--bench', 'echo', '--no-run', '--message-format', 'json']
  const build = spawnSync('cargo', args, { cwd: root, encoding: 'utf8', maxBuffer: 1 << 28 })
  if (build.error) throw new Error(`cargo: ${build.error.message}`)
  if (build.status !== 0) throw new Error(`they did not build: ${build.stderr.slice(-2_000)}`)
  for (const line of build.stdout.split('\n')) {
    if (!line.includes('"compiler-artifact"')) continue
    const { target, executable } = JSON.parse(line)
    if (target.name === 'echo' && executable) return executable
  }
  throw new Error('cargo named no program')
}
