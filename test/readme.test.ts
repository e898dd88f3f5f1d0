/**
 * The examples of README.md, run as they stand. Blocks marked `runnable` under one heading are one program: those that
 * begin with `// name.ts` are its files, the last block is what is started. What follows `//` behind a `console.log` is what
 * that line has to print.
 */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { transform } from 'esbuild'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { addons } from '../.ci/lib/addon.mjs'
import { cache, root, run } from '../.ci/lib/process.mjs'

interface Example {
  title: string
  files: { name: string; code: string }[]
  program: string
  prints: string[]
}

const examples = parse(readFileSync(join(root, 'README.md'), 'utf8'))
const built = existsSync(join(root, 'dist/esm/index.d.ts'))
/** What the fallback cannot do. */
const NEEDS_NATIVE = /linkmesh\/workers|mesh\.memory|\blisten:/
const native = addons().length > 0 && process.env.LINKMESH_BACKEND !== 'fallback'

function parse(readme: string): Example[] {
  return readme.split(/^## /m).flatMap((section) => {
    const blocks = [...section.matchAll(/^```ts runnable\n([\s\S]*?)^```$/gm)].map((match) => match[1] as string)
    if (blocks.length === 0) return []
    const files = blocks.map((code) => ({ name: /^\/\/ (\S+\.ts)\n/.exec(code)?.[1] ?? 'main.ts', code }))
    const prints = [...(blocks.at(-1) as string).matchAll(/^\s*console\.log\(.*\) \/\/ (.+)$/gm)]
    const title = section.split('\n', 1)[0] as string
    const program = (files.at(-1) as { name: string }).name
    return [{ title, files, program, prints: prints.map((match) => match[1] as string) }]
  })
}

describe.skipIf(!built)(`README${built ? '' : ' (dist is not built: run npm run build)'}`, () => {
  // Inside the repository, so that `linkmesh` is this package by its own name.
  mkdirSync(cache, { recursive: true })
  const folder = mkdtempSync(join(cache, 'readme-'))
  const place = (example: Example) => join(folder, String(examples.indexOf(example)))

  beforeAll(async () => {
    for (const example of examples) {
      mkdirSync(place(example))
      for (const { name, code } of example.files) {
        writeFileSync(join(place(example), name), code)
        const { code: javascript } = await transform(code, { loader: 'ts', format: 'esm', target: 'node20' })
        writeFileSync(join(place(example), name.replace(/\.ts$/, '.js')), javascript)
      }
    }
  })
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  it('has examples', () => {
    expect(examples.length).toBeGreaterThan(4)
    for (const { title, prints } of examples) expect(prints.length, title).toBeGreaterThan(0)
  })

  it('type checks', async () => {
    const options = {
      extends: join(root, 'tsconfig.json'),
      compilerOptions: { paths: {} },
      include: ['**/*.ts'],
    }
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(options))
    const { code, output } = await run(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', folder])
    expect(code, output).toBe(0)
  }, 60_000)

  it.for(examples)('$title', async (example, { skip }) => {
    if (!native && example.files.some(({ code }) => NEEDS_NATIVE.test(code)))
      skip('worker threads, other nodes and remote memory need the native addon')
    const program = example.program.replace(/\.ts$/, '.js')
    const options = { timeoutMs: 20_000, cwd: place(example) }
    const { code, output } = await run(process.execPath, [join(place(example), program)], options)
    expect(code, output).toBe(0)
    expect(output.split('\n')).toEqual(example.prints)
  })
})
