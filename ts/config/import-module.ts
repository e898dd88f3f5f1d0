/** Loads a user's module (config, service, load profile), TypeScript or JavaScript, and returns its default export. */
import { pathToFileURL } from 'node:url'
import * as define from './define.js'

/**
 * The default export of the module at `path`, or undefined when it has none.
 *
 * JavaScript is imported by Node itself, TypeScript through jiti (Node 20 cannot run it).
 * `linkmesh/config` inside a TypeScript file is answered by this very copy, so a config needs no installed package.
 */
export async function importModule(path: string): Promise<unknown> {
  const loaded = /\.[mc]?ts$/.test(path) ? await importTypeScript(path) : await import(pathToFileURL(path).href)
  return (loaded as { default?: unknown }).default
}

/** jiti costs some 50 ms to load: only whoever writes TypeScript pays it. */
async function importTypeScript(path: string): Promise<unknown> {
  const { createJiti } = await import('jiti')
  // A module without a default export has none; jiti would make one up.
  const jiti = createJiti(path, { virtualModules: { 'linkmesh/config': define }, interopDefault: false })
  return jiti.import(path)
}
