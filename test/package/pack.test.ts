/** The package as a stranger gets it: packed, installed into an empty folder, used from both module systems. */
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { publint } from 'publint'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { availableNodes } from '../../.ci/lib/nodes.mjs'
import { npm, root, run } from '../../.ci/lib/process.mjs'

const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
const built = ['dist/esm/index.js', 'dist/cjs/index.js', 'dist/esm/index.d.ts', 'dist/esm/cli/main.js']
const missing = built.find((path) => !existsSync(join(root, path)))

/** What a module prints after one request through a mesh; the process has to end by itself. */
const useMesh = `
const mesh = await Mesh.open({ name: 'packed' })
mesh.service('math.double', async (n) => n * 2)
const reply = await mesh.request('math.double', 21)
await mesh.close()
const table = new FingerprintedIdTable()
table.set('orders.create', 7)
console.log(JSON.stringify({ reply, found: table.get('orders.create'), backend: mesh.backend.kind }))
`

describe.skipIf(missing)(`the packed package${missing ? ` (${missing} is not built: run npm run build)` : ''}`, () => {
  const folder = mkdtempSync(join(tmpdir(), 'linkmesh-pack-'))
  const installed = join(folder, 'node_modules/linkmesh')
  let files: string[] = []
  let offline = false

  beforeAll(async () => {
    // Longer than what is kept of a command's output.
    const lines: string[] = []
    const packed = await npm(['pack', '--json', '--ignore-scripts', '--pack-destination', folder], {
      onLine: (line: string) => lines.push(line),
    })
    expect(packed.code, packed.output).toBe(0)
    const report = JSON.parse(lines.slice(lines.indexOf('[')).join('\n'))
    files = report[0].files.map((file: { path: string }) => file.path)
    writeFileSync(join(folder, 'package.json'), '{ "private": true }\n')
    const added = await npm(['install', '--no-audit', '--no-fund', '--prefer-offline', `./${report[0].filename}`], {
      cwd: folder,
    })
    offline = added.code !== 0 && /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT/.test(added.output)
    if (!offline) expect(added.code, added.output).toBe(0)
  }, 180_000)
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  it('holds what runs and what explains it, and no sources, tests or tools', () => {
    for (const path of ['README.md', 'LICENSE', 'CHANGELOG.md', 'package.json', ...built]) expect(files).toContain(path)
    expect(files.filter((path) => !/^(dist|native)\/|^[A-Z]+(\.md)?$|^package\.json$/.test(path))).toEqual([])
    expect(files.filter((path) => /\.tsx?$/.test(path) && !path.endsWith('.d.ts'))).toEqual([])
  })

  it('has every file that its exports name, in the format it is exported as', async ({ skip }) => {
    if (offline) skip('the registry cannot be reached')
    const { messages } = await publint({ pkgDir: installed, pack: false })
    expect(messages.filter((message) => message.type !== 'suggestion')).toEqual([])
  })

  describe.each(availableNodes())('under Node $version', ({ path }) => {
    it.for<[string, string[], string]>([
      [
        'import',
        ['--input-type=module'],
        `import { Mesh } from 'linkmesh'\nimport { FingerprintedIdTable } from 'linkmesh/tables'\n${useMesh}`,
      ],
      [
        'require',
        [],
        `const { Mesh } = require('linkmesh')\nconst { FingerprintedIdTable } = require('linkmesh/tables')\n;(async () => {${useMesh}})()`,
      ],
    ])('%s serves a request and the process ends', async ([_, flags, code], { skip }) => {
      if (offline) skip('the registry cannot be reached')
      const { code: exit, output } = await run(path, [...flags, '-e', code], { cwd: folder, timeoutMs: 20_000 })
      expect(exit, output).toBe(0)
      const answer = JSON.parse(output)
      expect(answer).toMatchObject({ reply: 42, found: 7 })
      const native = process.env.LINKMESH_BACKEND !== 'fallback' && files.some((file) => file.endsWith('.node'))
      expect(answer.backend).toBe(native ? 'native' : 'fallback')
    })

    it('every entry point loads both ways, linkmesh/otel once its peers are there', async ({ skip }) => {
      if (offline) skip('the registry cannot be reached')
      const peers = join(folder, 'node_modules/@opentelemetry')
      rmSync(peers, { recursive: true, force: true })
      const without = await run(path, ['-e', `require('linkmesh/otel')`], { cwd: folder, timeoutMs: 20_000 })
      expect(without.code).not.toBe(0)
      expect(without.output).toContain("Cannot find module '@opentelemetry/")
      symlinkSync(join(root, 'node_modules/@opentelemetry'), peers, 'junction')
      const entries = Object.keys(manifest.exports).filter((entry) => !entry.endsWith('.json'))
      const names = entries.map((entry) => entry.replace('.', 'linkmesh'))
      const code = `
        const names = ${JSON.stringify(names)}
        Promise.all(names.map(async (name) => {
          const [required, imported] = [require(name), await import(name)]
          return [name, Object.keys(required).sort(), Object.keys(imported).sort()]
        })).then((all) => console.log(JSON.stringify(all)))`
      const { code: exit, output } = await run(path, ['-e', code], { cwd: folder, timeoutMs: 20_000 })
      expect(exit, output).toBe(0)
      for (const [name, required, imported] of JSON.parse(output)) {
        expect(imported.length, name).toBeGreaterThan(0)
        expect(
          required.filter((key: string) => key !== 'default'),
          name,
        ).toEqual(imported.filter((key: string) => key !== 'default'))
      }
    })

    it('the command shows its help', async ({ skip }) => {
      if (offline) skip('the registry cannot be reached')
      const bin = join(installed, manifest.bin.linkmesh)
      const { code, output } = await run(path, [bin, '--help'], { cwd: folder, timeoutMs: 20_000 })
      expect(code, output).toBe(0)
      for (const command of ['up', 'doctor', 'services', 'explain']) expect(output).toContain(command)
    })
  })

  it.for(['use.mts', 'use.cts'])('types reach %s', async (file, { skip }) => {
    if (offline) skip('the registry cannot be reached')
    writeFileSync(
      join(folder, file),
      `import { type LinkmeshError, Mesh } from 'linkmesh'
       import { FingerprintedIdTable } from 'linkmesh/tables'
       export async function use(): Promise<string | undefined> {
         await using mesh: Mesh = await Mesh.open({ name: 'typed' })
         const value: number = new FingerprintedIdTable().get('a')
         // @ts-expect-error a name is a string: types that fell back to any would let it pass
         await Mesh.open({ name: value })
         const fault = new Error() as LinkmeshError
         return fault.code satisfies string
       }\n`,
    )
    const tsc = join(root, 'node_modules/typescript/bin/tsc')
    const options = [
      '--noEmit',
      '--strict',
      '--module',
      'nodenext',
      '--target',
      'es2022',
      '--lib',
      'es2023,esnext.disposable',
    ]
    const types = ['--types', 'node', '--typeRoots', join(root, 'node_modules/@types')]
    const { code, output } = await run(process.execPath, [tsc, ...options, ...types, '--skipLibCheck', file], {
      cwd: folder,
    })
    expect(code, output).toBe(0)
  })
})
