/**
 * Finds and loads the native addon.
 *
 * Order: `LINKMESH_NATIVE_PATH`; a local build, `native/linkmesh.<platform>.node` beside the package's root; the
 * platform package `@linkmesh/<platform>`. When nothing loads, one error lists every attempt and its own cause, because
 * "cannot find module" alone hides the true reason (a wrong libc, an older glibc, a broken install).
 */
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { LinkmeshError, NATIVE_HINT } from '../errors.js'
import type { Binding } from './contract.js'

const require = createRequire(import.meta.url)

/** `linux-x64-gnu`, `darwin-arm64`, `win32-x64-msvc`: the name in files and packages. */
export function platformName(): string {
  const { platform, arch } = process
  if (platform === 'linux') return `linux-${arch}-${isMusl() ? 'musl' : 'gnu'}`
  if (platform === 'win32') return `win32-${arch}-msvc`
  return `${platform}-${arch}`
}

function isMusl(): boolean {
  try {
    // The text of ldd is cheaper to read than a report, and says which libc it belongs to.
    return readFileSync('/usr/bin/ldd', 'utf8').includes('musl')
  } catch {
    // No ldd (distroless images): ask the runtime.
  }
  const report = process.report?.getReport() as { header?: { glibcVersionRuntime?: string } } | undefined
  return report?.header !== undefined && report.header.glibcVersionRuntime === undefined
}

/** The folder whose package.json is linkmesh's own; works from `ts/`, `dist/esm` and `dist/cjs`. */
export function packageRoot(): string {
  const start = dirname(fileURLToPath(import.meta.url))
  for (let folder = start, depth = 0; depth < 8; folder = dirname(folder), depth++) {
    const file = join(folder, 'package.json')
    if (!existsSync(file)) continue
    if ((JSON.parse(readFileSync(file, 'utf8')) as { name?: string }).name === 'linkmesh') return folder
  }
  return start
}

/** Loads the addon, or throws `LM_NATIVE_REQUIRED` whose `cause` (an AggregateError) lists every attempt. */
export function loadNative(): { binding: Binding; file: string } {
  const platform = platformName()
  const root = packageRoot()
  const candidates = [
    process.env.LINKMESH_NATIVE_PATH,
    join(root, 'native', `linkmesh.${platform}.node`),
    `@linkmesh/${platform}`,
  ]
  const attempts: Error[] = []
  for (const [index, file] of candidates.entries()) {
    if (file === undefined || file === '') continue
    try {
      // A copy, because the addon's own object is a dictionary to V8: each call would look its function up by name.
      const binding: Binding = { ...(require(file) as Binding) }
      // The file may be a leftover of another release: names and layouts of the boundary would not agree.
      const found = binding.info().version
      const wanted = (JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }).version
      if (found !== wanted) throw new Error(`is version ${found}, this package is ${wanted}`)
      return { binding, file }
    } catch (cause) {
      const words = cause instanceof Error ? (cause.message.split('\n')[0] ?? '') : String(cause)
      attempts.push(new Error(`${file}: ${words}`, { cause }))
      // A path that was named explicitly is meant: silently loading another file would hide the mistake.
      if (index === 0) break
    }
  }
  throw new LinkmeshError(
    'LM_NATIVE_REQUIRED',
    `no native addon for ${platform}: ${attempts.map((attempt) => attempt.message).join('; ')}. linkmesh ${NATIVE_HINT}`,
    { cause: new AggregateError(attempts, `${attempts.length} attempts to load the native addon failed`) },
  )
}
