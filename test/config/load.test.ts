/** Finding and reading config files and the modules they name. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { importModule } from '../../ts/config/import-module.js'
import { readLoadProfile } from '../../ts/config/load-profile.js'
import { readServiceModule } from '../../ts/config/service-module.js'
import { ConfigError, loadConfig } from '../../ts/config.js'

const folder = mkdtempSync(join(tmpdir(), 'linkmesh-config-'))
afterAll(() => rmSync(folder, { recursive: true }))
const write = (name: string, text: string | Buffer) => {
  const path = join(folder, name)
  writeFileSync(path, text)
  return path
}

describe('loadConfig', () => {
  it('reads TypeScript, with types and the helper of this very package', async () => {
    const path = write(
      'a.config.ts',
      `import { defineConfig } from 'linkmesh/config'\nconst name: string = 'typed'\nexport default defineConfig({ name })\n`,
    )
    expect(await loadConfig(path)).toMatchObject({ config: { name: 'typed' }, path, folder })
  })

  it('reads an ES module and JSON with a $schema', async () => {
    expect((await loadConfig(write('b.mjs', `export default { name: 'module' }`))).config.name).toBe('module')
    expect((await loadConfig(write('c.json', `{ "$schema": "x", "name": "json" }`))).config.name).toBe('json')
  })

  it('looks for linkmesh.config.* in the folder', async () => {
    await expect(loadConfig(undefined, folder)).rejects.toThrow(/none of linkmesh\.config\.ts/)
    write('linkmesh.config.json', `{ "name": "found" }`)
    expect((await loadConfig(undefined, folder)).config.name).toBe('found')
  })

  it.each([
    ['is missing', () => 'missing.json', /no such file/],
    ['is a folder', () => '.', /no such file/],
    ['is broken JSON', () => write('d.json', '{'), /not JSON/],
    ['is not UTF-8', () => write('e.json', Buffer.from([0x22, 0xff, 0x22])), /not UTF-8/],
    ['is too large', () => write('f.json', ' '.repeat((1 << 20) + 1)), /at most 1048576 bytes/],
    ['throws', () => write('g.mjs', `throw new Error('boom')`), /could not be loaded: boom/],
    ['has no default export', () => write('h.ts', 'export const x = 1'), /no default export/],
    ['has a wrong field', () => write('i.mjs', 'export default { seed: -1 }'), /seed: .*found -1/],
  ])('says what is wrong when the file %s', async (_, make, message) => {
    const failure = loadConfig(make(), folder)
    await expect(failure).rejects.toThrow(message)
    await expect(failure).rejects.toBeInstanceOf(ConfigError)
  })
})

describe('service modules', () => {
  const get = () => 1
  it('are defineService or a plain object', async () => {
    const path = write(
      's.ts',
      `import { defineService } from 'linkmesh/config'\nexport default defineService({ get: (b: { n: number }) => b.n, put: () => 2 }, { idempotent: ['get'] })\n`,
    )
    const handlers = readServiceModule(await importModule(path), path)
    expect(handlers.map(({ name, idempotent }) => [name, idempotent])).toEqual([
      ['get', true],
      ['put', false],
    ])
    expect(readServiceModule({ get }, 'x')).toEqual([{ name: 'get', handler: get, idempotent: false }])
  })

  it.each([
    [undefined, /found undefined/],
    [{}, /1 to 256 handlers/],
    [{ get: 1 }, /get: a handler is a function; found number/],
    [{ 'a.b': get }, /a handler name is/],
    [{ handlers: { get }, idempotent: ['put'] }, /no handler "put"/],
  ])('%j is refused', (exported, message) => {
    expect(() => readServiceModule(exported, 'x.ts')).toThrow(message)
  })
})

it('a load profile without its functions is refused by name', () => {
  expect(() => readLoadProfile({ next() {} }, 'x.ts')).toThrow(/x\.ts: a load profile needs the function expected/)
})
