/** Stamps: the hash of what a build step read, kept so that nothing unchanged is built again. */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { cache, root } from './process.mjs'

/**
 * Files below `folder`, sorted, as paths relative to the repository.
 *
 * @param {string} folder relative to the repository
 * @param {(path: string) => boolean} [wanted] asked for folders (to enter) and files (to keep)
 * @returns {string[]}
 */
export function filesIn(folder, wanted = () => true) {
  const found = []
  if (!existsSync(join(root, folder))) return found
  for (const entry of readdirSync(join(root, folder), { withFileTypes: true })) {
    const path = `${folder}/${entry.name}`
    if (entry.name === 'node_modules' || entry.name === 'target' || !wanted(path)) continue
    if (entry.isDirectory()) found.push(...filesIn(path, wanted))
    else if (entry.isFile()) found.push(path)
  }
  return found.sort()
}

/** Hash of names and contents of `files`, and of `facts` (tool versions, options). */
export function hashOf(files, facts = []) {
  const hash = createHash('sha256')
  for (const fact of facts) hash.update(`${fact}\0`)
  for (const file of files) {
    const path = join(root, file)
    hash.update(`${file}\0`)
    if (existsSync(path)) hash.update(readFileSync(path))
    hash.update('\0')
  }
  return hash.digest('hex')
}

/**
 * Builds unless the stamp `name` says that `hash` was built and all `outputs` are there.
 * The stamp is taken away first, so an interrupted build is never taken for a finished one.
 *
 * @param {string} name
 * @param {string} hash
 * @param {string[]} outputs relative to the repository
 * @param {() => Promise<string | void>} build
 * @returns {Promise<string | void>} a note for the step
 */
export async function unlessBuilt(name, hash, outputs, build) {
  const stamp = join(cache, 'stamps', name)
  if (isBuilt(name, hash) && outputs.every((output) => existsSync(join(root, output)))) return 'up to date'
  rmSync(stamp, { force: true })
  const note = await build()
  mkdirSync(join(cache, 'stamps'), { recursive: true })
  writeFileSync(stamp, hash)
  return note
}

/** True when the stamp `name` holds `hash`. */
export function isBuilt(name, hash) {
  const stamp = join(cache, 'stamps', name)
  return existsSync(stamp) && readFileSync(stamp, 'utf8') === hash
}
