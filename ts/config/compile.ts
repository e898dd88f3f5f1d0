/**
 * TypeScript modules of the user (config, services, load profile) as plain JavaScript that Node itself imports.
 *
 * esbuild bundles them once, what they share in chunks, so that modules of one thread still share their state. The result
 * is kept by the content of all files that were read: a later start, and every worker thread, only imports it and loads
 * no compiler. Packages stay outside and are found as the source would find them: the cache is in the nearest
 * `node_modules`, or, where there is none or it cannot be written, in a folder that goes with the process.
 */
import { createHash, randomBytes } from 'node:crypto'
import { accessSync, constants, existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs' // biome-ignore format: one line
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Plugin } from 'esbuild'
import * as define from './define.js'

/** Changes when the same sources would be compiled to something else. */
const FORMAT = 'linkmesh-modules-1'
const TYPESCRIPT = /\.[mc]?ts$/

/** What was compiled from which files. */
interface Manifest {
  /** Absolute path and hash of each file that was read. */
  inputs: Record<string, string>
  /** Path of the module that each entry became. */
  outputs: Record<string, string>
}

/**
 * Compiles the TypeScript modules among `paths`, together, unless that was done and nothing has changed since.
 *
 * @param paths absolute
 * @returns for each path what to import instead; JavaScript stays what it is
 * @throws Error of esbuild, with file and line, when one does not compile
 */
export async function compileModules(paths: readonly string[]): Promise<Map<string, string>> {
  const result = new Map(paths.map((path) => [path, path]))
  const entries = [...new Set(paths.filter((path) => TYPESCRIPT.test(path)))].sort()
  if (entries.length === 0) return result
  const folder = cacheFolder(dirname(entries[0] as string))
  const record = join(folder, `${hashOf(FORMAT, ...entries)}.json`)
  const known = readManifest(record)
  const { outputs } = known && isCurrent(known) ? known : await build(entries, folder, record)
  for (const entry of entries) result.set(entry, outputs[entry] as string)
  return result
}

function readManifest(record: string): Manifest | undefined {
  try {
    return JSON.parse(readFileSync(record, 'utf8')) as Manifest
  } catch {
    // Not there, or cut off: compiled again.
    return undefined
  }
}

function isCurrent({ inputs, outputs }: Manifest): boolean {
  return (
    Object.entries(inputs).every(([path, hash]) => existsSync(path) && hashOf(readFileSync(path)) === hash) &&
    Object.values(outputs).every((path) => existsSync(path))
  )
}

async function build(entries: readonly string[], folder: string, record: string): Promise<Manifest> {
  const base = dirname(entries[0] as string)
  const { metafile, outputFiles } = await bundle(entries, join(folder, FORMAT), base)
  const inputs: Record<string, string> = {}
  for (const input of Object.keys(metafile.inputs)) {
    const path = join(base, input)
    if (existsSync(path)) inputs[path] = hashOf(readFileSync(path))
  }
  const target = join(folder, hashOf(FORMAT, JSON.stringify(inputs), ...entries))
  if (!existsSync(target)) {
    // As a whole or not at all: another process may do the same.
    const draft = `${target}.${randomBytes(6).toString('hex')}`
    mkdirSync(draft, { recursive: true })
    for (const { path, contents } of outputFiles) writeFileSync(join(draft, basename(path)), contents)
    try {
      renameSync(draft, target)
    } catch (error) {
      rmSync(draft, { recursive: true, force: true })
      if (!existsSync(target)) throw error
    }
  }
  const outputs: Record<string, string> = {}
  for (const [path, { entryPoint }] of Object.entries(metafile.outputs))
    if (entryPoint !== undefined) outputs[join(base, entryPoint)] = join(target, basename(path))
  const manifest: Manifest = { inputs, outputs }
  const draft = `${record}.${randomBytes(6).toString('hex')}`
  writeFileSync(draft, JSON.stringify(manifest))
  renameSync(draft, record)
  return manifest
}

/** Runs esbuild. Its own process ends with the last build: nothing of it is needed while the modules run. */
async function bundle(entries: readonly string[], outdir: string, absWorkingDir: string) {
  const esbuild = await import('esbuild')
  bundling++
  try {
    return await esbuild.build({
      entryPoints: Object.fromEntries(
        entries.map((path, index) => [`${index}-${basename(path).replace(TYPESCRIPT, '')}`, path]),
      ),
      outdir,
      outExtension: { '.js': '.mjs' },
      absWorkingDir,
      bundle: true,
      splitting: true,
      format: 'esm',
      platform: 'node',
      target: 'node20',
      packages: 'external',
      sourcemap: 'linked',
      sourcesContent: false,
      metafile: true,
      write: false,
      logLevel: 'silent',
      define: Object.fromEntries(PLACES.map(({ written, name }) => [written, name])),
      plugins: [ownHelpers, places],
    })
  } finally {
    if (--bundling === 0) await esbuild.stop()
  }
}
let bundling = 0

/** `linkmesh/config` is answered by this very copy, so a config needs no installed package. */
const ownHelpers: Plugin = {
  name: 'linkmesh-config',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^linkmesh\/config$/ }, ({ path }) => ({ path, namespace: 'linkmesh' }))
    onLoad({ filter: /.*/, namespace: 'linkmesh' }, () => ({
      contents: Object.entries(define)
        .map(([name, helper]) => `export const ${name} = ${helper.toString()}`)
        .join('\n'),
    }))
  },
}

/** What a module may ask about its own place: answered with the source's, not the bundle's. */
const PLACES = [
  { written: 'import.meta.url', name: '__linkmesh_url', of: (path: string) => pathToFileURL(path).href },
  { written: 'import.meta.filename', name: '__linkmesh_filename', of: (path: string) => path },
  { written: 'import.meta.dirname', name: '__linkmesh_dirname', of: (path: string) => dirname(path) },
  { written: '__filename', name: '__linkmesh_filename', of: (path: string) => path },
  { written: '__dirname', name: '__linkmesh_dirname', of: (path: string) => dirname(path) },
] as const

const places: Plugin = {
  name: 'linkmesh-places',
  setup({ onLoad }) {
    onLoad({ filter: TYPESCRIPT, namespace: 'file' }, ({ path }) => {
      const text = readFileSync(path, 'utf8')
      const asked = new Map(
        PLACES.filter(({ written }) => text.includes(written)).map(({ name, of }) => [name, of(path)]),
      )
      const lines = [...asked].map(([name, value]) => `const ${name} = ${JSON.stringify(value)};`)
      // On the first line, so that lines keep their numbers.
      return { contents: lines.join('') + text, loader: 'ts' }
    })
  },
}

function cacheFolder(from: string): string {
  const packages = nearestPackages(from)
  if (packages !== undefined) {
    try {
      const folder = join(packages, '.cache', 'linkmesh')
      mkdirSync(folder, { recursive: true })
      accessSync(folder, constants.W_OK)
      return folder
    } catch {
      // A read-only installation.
    }
  }
  let folder = passing.get(packages)
  if (folder === undefined) {
    folder = mkdtempSync(join(tmpdir(), 'linkmesh-modules-'))
    if (packages !== undefined) symlinkSync(packages, join(folder, 'node_modules'), 'junction')
    const made = folder
    process.once('exit', () => rmSync(made, { recursive: true, force: true }))
    passing.set(packages, folder)
  }
  return folder
}
const passing = new Map<string | undefined, string>()

function nearestPackages(from: string): string | undefined {
  for (let folder = from; ; folder = dirname(folder)) {
    const packages = join(folder, 'node_modules')
    if (existsSync(packages)) return packages
    if (dirname(folder) === folder) return undefined
  }
}

function hashOf(...parts: readonly (string | Uint8Array)[]): string {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part).update('\0')
  return hash.digest('hex').slice(0, 32)
}
