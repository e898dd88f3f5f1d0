/**
 * `node .ci/lock.mjs [folder]`: completes package-lock.json after `npm install`.
 *
 * npm leaves the optional packages of other platforms out when the registry it asked does not carry them, and
 * `npm ci` then refuses the lock on every machine. Each is entered with the exact version that its parent asks for
 * and the platform that its name tells; the machine that needs it checks what it downloads against the registry.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './lib/process.mjs'

const OS = ['aix', 'android', 'darwin', 'freebsd', 'linux', 'netbsd', 'openbsd', 'openharmony', 'sunos', 'win32']
const CPU = ['arm', 'arm64', 'ia32', 'loong64', 'mips64el', 'ppc64', 'riscv64', 's390x', 'wasm32', 'x64']
const LIBC = { gnu: 'glibc', gnueabihf: 'glibc', musl: 'musl', musleabihf: 'musl' }

const file = join(root, process.argv[2] ?? '.', 'package-lock.json')
const lock = JSON.parse(readFileSync(file, 'utf8'))
const added = []

for (const [parent, entry] of Object.entries(lock.packages)) {
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
    if (resolves(parent, name)) continue
    const words = name.split('/').pop().split('-')
    const platform = {
      os: only(OS, words),
      cpu: only(CPU, words),
      libc: words.map((word) => LIBC[word]).filter(Boolean),
    }
    if (name === 'fsevents') platform.os = ['darwin']
    if (platform.os.length + platform.cpu.length === 0)
      throw new Error(`${name}: no platform in its name; enter it by hand`)
    for (const key of Object.keys(platform)) if (platform[key].length === 0) delete platform[key]
    const exact = /\d+\.\d+\.\d+\S*$/.exec(version)?.[0]
    if (!exact) throw new Error(`${name}@${version}: not a version; enter it by hand`)
    lock.packages[`node_modules/${name}`] = { version: exact, dev: entry.dev, ...platform, optional: true }
    added.push(`${name}@${exact}`)
  }
}

/** Whether `name` is found from `parent` by Node's look-up: in its own node_modules or in one above. */
function resolves(parent, name) {
  for (let path = parent; ; path = path.slice(0, Math.max(0, path.lastIndexOf('node_modules/') - 1))) {
    if (lock.packages[`${path && `${path}/`}node_modules/${name}`]) return true
    if (path === '') return false
  }
}

function only(known, words) {
  return words.filter((word) => known.includes(word))
}

const [top, ...rest] = Object.keys(lock.packages)
lock.packages = Object.fromEntries(
  [top, ...rest.sort((a, b) => a.localeCompare(b, 'en'))].map((path) => [path, lock.packages[path]]),
)
writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`)
process.stdout.write(`${added.length} added${added.length > 0 ? `: ${added.join(', ')}` : ''}\n`)
