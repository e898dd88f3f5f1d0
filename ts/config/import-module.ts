/** Loads a user's module (config, service, load profile), TypeScript or JavaScript, and returns its default export. */
import { createJiti } from 'jiti'
import * as define from './define.js'

/**
 * The default export of the module at `path`, or undefined when it has none.
 *
 * `.mjs` and `.js` files are imported by Node itself, `.ts` and `.mts` files through jiti (Node 20 cannot run them).
 * `linkmesh/config` inside a TypeScript file is answered by this very copy, so a config needs no installed package.
 */
export async function importModule(path: string): Promise<unknown> {
  const jiti = createJiti(path, {
    // A module without a default export has none; jiti would make one up.
    interopDefault: false,
    virtualModules: { 'linkmesh/config': define },
    tryNative: !/\.[mc]?ts$/.test(path),
  })
  const loaded = (await jiti.import(path)) as { default?: unknown }
  return loaded.default
}
