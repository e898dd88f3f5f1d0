/** Loads a user's module (config, service, load profile), TypeScript or JavaScript, and returns its default export. */
import { pathToFileURL } from 'node:url'

/**
 * The default export of the module at `path`, or undefined when it has none.
 *
 * JavaScript is imported by Node itself, TypeScript after it was compiled (Node 20 cannot run it).
 *
 * @param version a module is imported once for each; what it imports itself is read again only when it is TypeScript
 */
export async function importModule(path: string, version?: string): Promise<unknown> {
  let compiled = path
  // A worker is given what the main thread compiled, and loads none of this.
  if (/\.[mc]?ts$/.test(path))
    compiled = (await (await import('./compile.js')).compileModules([path])).get(path) ?? path
  const url = pathToFileURL(compiled)
  if (compiled === path && version !== undefined) url.searchParams.set('version', version)
  const loaded = (await import(url.href)) as { default?: unknown }
  return loaded.default
}
