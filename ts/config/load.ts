/** Finds and reads a config file: TypeScript and ES modules by way of `compile.ts`, JSON as text. */
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { parseConfig } from './check.js'
import { importModule } from './import-module.js'
import { ConfigError } from './problem.js'
import { CONFIG_LIMITS, type Config } from './schema.js'

/** Names that are looked for, in this order, when no file is given. */
export const CONFIG_FILES = [
  'linkmesh.config.ts',
  'linkmesh.config.mts',
  'linkmesh.config.mjs',
  'linkmesh.config.js',
  'linkmesh.config.json',
] as const

export interface LoadedConfig {
  config: Config
  /** Absolute path of the file. */
  path: string
  /** Folder that relative paths in the config start from. */
  folder: string
}

/**
 * Loads and checks a config file.
 *
 * @param file path, absolute or relative to `cwd`; without it the first of {@link CONFIG_FILES} in `cwd`
 * @throws ConfigError when there is no file, it cannot be read, or a field is wrong
 */
export async function loadConfig(file?: string, cwd: string = process.cwd()): Promise<LoadedConfig> {
  const path = file === undefined ? findConfig(cwd) : resolve(cwd, file)
  const input = path.endsWith('.json') ? readJson(path) : await readModule(path)
  return { config: parseConfig(input, path), path, folder: dirname(path) }
}

function findConfig(cwd: string): string {
  for (const name of CONFIG_FILES) {
    const path = resolve(cwd, name)
    if (existsSync(path)) return path
  }
  const message = `none of ${CONFIG_FILES.join(', ')} is here; make one, or name the file: linkmesh up path/to/config.ts`
  throw new ConfigError(cwd, [{ path: '', message }])
}

function checkFile(path: string): void {
  const stat = statSync(path, { throwIfNoEntry: false })
  if (!stat?.isFile()) throw new ConfigError(path, [{ path: '', message: 'no such file' }])
  if (stat.size > CONFIG_LIMITS.fileBytes)
    throw new ConfigError(path, [{ path: '', message: `at most ${CONFIG_LIMITS.fileBytes} bytes; found ${stat.size}` }])
}

function readJson(path: string): unknown {
  checkFile(path)
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(readFileSync(path))
  } catch (cause) {
    throw new ConfigError(path, [{ path: '', message: 'not UTF-8 text' }], cause)
  }
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new ConfigError(path, [{ path: '', message: `not JSON: ${(cause as Error).message}` }], cause)
  }
}

async function readModule(path: string): Promise<unknown> {
  checkFile(path)
  let exported: unknown
  try {
    // By content: a file that has changed is another module.
    exported = await importModule(path, createHash('sha256').update(readFileSync(path)).digest('hex'))
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause)
    throw new ConfigError(path, [{ path: '', message: `could not be loaded: ${message}` }], cause)
  }
  if (exported === undefined)
    throw new ConfigError(path, [
      { path: '', message: 'has no default export; write `export default defineConfig({…})`' },
    ])
  return exported
}
