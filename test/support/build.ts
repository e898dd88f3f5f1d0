/**
 * Worker threads and child processes cannot load TypeScript on every supported runtime, so tests that need them run a
 * plain transpile of `ts/`, made once per run, in a folder of the run's own: another
 * run in the same checkout would rewrite files that a worker of this one is about to read. Its path is in
 * `LINKMESH_TEST_BUILD`.
 */
import { readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const root = fileURLToPath(new URL('../..', import.meta.url))

export default async function setup(): Promise<() => void> {
  const outdir = join(root, '.cache', `test-build-${process.pid}`)
  const entryPoints = readdirSync(join(root, 'ts'), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => join(root, 'ts', file))
  await build({ entryPoints, outdir, outbase: join(root, 'ts'), format: 'esm', target: 'node20', logLevel: 'error' })
  process.env.LINKMESH_TEST_BUILD = outdir
  return () => rmSync(outdir, { recursive: true, force: true })
}
