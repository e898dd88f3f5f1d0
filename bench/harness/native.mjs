/** The built product: what the benches measure. */
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))))

/** A module of the built package, by its path under `dist/esm`. */
export async function built(path) {
  const file = join(root, 'dist/esm', path)
  if (!existsSync(file)) throw new Error(`${file} is not built: run npm run build`)
  return import(file)
}

/** The addon itself, without the TypeScript around it. */
export async function addon() {
  const { loadNative } = await built('binding/native.js')
  return loadNative().binding
}

/** A package of `bench/package.json`. */
export const rival = createRequire(import.meta.url)
