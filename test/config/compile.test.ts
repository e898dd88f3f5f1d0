/** TypeScript of the user becomes JavaScript that Node imports: once, by content, with places and shared state intact. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { compileModules } from '../../ts/config/compile.js'

const top = realpathSync(mkdtempSync(join(tmpdir(), 'linkmesh-compile-')))
afterAll(() => rmSync(top, { recursive: true }))
let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(top, 'project-'))
  mkdirSync(join(folder, 'node_modules'))
})
const write = (name: string, text: string) => {
  const path = join(folder, name)
  mkdirSync(join(path, '..'), { recursive: true })
  writeFileSync(path, text)
  return path
}
const load = async (path: string, together = [path]) => {
  const compiled = (await compileModules(together)).get(path) as string
  return { compiled, exported: ((await import(pathToFileURL(compiled).href)) as { default: unknown }).default }
}

describe('compileModules', () => {
  it('keeps the result in node_modules/.cache and compiles again only when a file of the module has changed', async () => {
    write('price.ts', 'export enum Price { Low = 1 }\n')
    const path = write('a.ts', `import { Price } from './price.js'\nexport default Price.Low as number\n`)
    const first = await load(path)
    expect(first.exported).toBe(1)
    const cache = join(folder, 'node_modules/.cache/linkmesh')
    expect(first.compiled.startsWith(cache)).toBe(true)
    const record = join(cache, readdirSync(cache).find((name) => name.endsWith('.json')) as string)
    const { ino } = statSync(record)
    expect((await load(path)).compiled).toBe(first.compiled)
    expect(statSync(record).ino).toBe(ino)
    write('price.ts', 'export enum Price { Low = 2 }\n')
    const second = await load(path)
    expect(second.exported).toBe(2)
    // What runs keeps what it runs on.
    expect(existsSync(first.compiled)).toBe(true)
  })

  it('modules that are compiled together share the state of what both import', async () => {
    write('pool.ts', 'export const pool: string[] = []\n')
    const one = write('services/one.ts', `import { pool } from '../pool.ts'\npool.push('one')\nexport default pool\n`)
    const two = write('services/two.ts', `import { pool } from '../pool.js'\npool.push('two')\nexport default pool\n`)
    const [a, b] = [await load(one, [one, two]), await load(two, [one, two])]
    expect(a.exported).toBe(b.exported)
    expect(b.exported).toEqual(['one', 'two'])
  })

  it('a module finds itself, its packages and the helpers where the source would', async () => {
    write('node_modules/greeter/package.json', '{ "name": "greeter", "type": "module", "exports": "./index.js" }')
    write('node_modules/greeter/index.js', `export const greet = (name) => 'hello ' + name`)
    const path = write(
      'deep/self.ts',
      `import { defineService } from 'linkmesh/config'\nimport { greet } from 'greeter'\nexport default [import.meta.url, __dirname, greet('you'), typeof defineService({ get: () => 1 }).handlers.get]\n`,
    )
    expect((await load(path)).exported).toEqual([
      pathToFileURL(path).href,
      join(folder, 'deep'),
      'hello you',
      'function',
    ])
  })

  it('a manifest that was cut off, and outputs that were deleted, are made again', async () => {
    const path = write('a.ts', 'export default 7 as number\n')
    const { compiled } = await load(path)
    const cache = join(folder, 'node_modules/.cache/linkmesh')
    const record = join(cache, readdirSync(cache).find((name) => name.endsWith('.json')) as string)
    writeFileSync(record, '{"inputs":')
    expect((await load(path)).compiled).toBe(compiled)
    rmSync(join(compiled, '..'), { recursive: true })
    expect((await load(path)).compiled).toBe(compiled)
    expect(existsSync(compiled)).toBe(true)
  })

  it('JavaScript is left alone, and what does not compile is named with its place', async () => {
    const script = write('a.mjs', 'export default 1')
    expect(await compileModules([script])).toEqual(new Map([[script, script]]))
    const broken = write('broken.ts', 'export default {\n')
    await expect(compileModules([broken])).rejects.toThrow(/broken\.ts:2:0: ERROR/)
    await expect(compileModules([join(folder, 'missing.ts')])).rejects.toThrow(/missing\.ts/)
  })
})
