/** `examples/dead-letters/README.md`, its commands run in their order, as they are typed. */
import { spawn } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loadBinding } from '../../ts/binding/index.js'
import { type Running, start } from './command.js'

const example = resolve(import.meta.dirname, '../../examples/dead-letters')
const root = mkdtempSync(join(tmpdir(), 'lm-page-'))
const shop = join(root, 'shop')
const env = { ...process.env, NO_COLOR: '1', PATH: `${join(root, 'bin')}:${process.env.PATH}`, XDG_RUNTIME_DIR: root }
let running: Running | undefined

interface Step {
  commands: string[]
  background: boolean
  /** What has to stand in the output. */
  prints: string[]
}

function parse(page: string): Step[] {
  const steps: Step[] = []
  for (const [, language, text] of page.matchAll(/^```(sh background|sh|text)\n([\s\S]*?)^```$/gm)) {
    const lines = (text as string).trimEnd().split('\n')
    if (language === 'text') (steps.at(-1) as Step).prints = lines
    else steps.push({ commands: lines, background: language === 'sh background', prints: [] })
  }
  return steps
}

/** `…` stands for what differs each time. */
function pattern(line: string): RegExp {
  const parts = line.split('…').map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
  return new RegExp(`^${parts.join('.*')}$`, 'm')
}

function shell(command: string): Promise<{ code: number | null; output: string }> {
  return new Promise((done) => {
    const child = spawn('/bin/sh', ['-c', command], { cwd: shop, env, timeout: 60_000 })
    let output = ''
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => {
        output += text
      })
    child.on('close', (code) => done({ code, output }))
  })
}

function freePort(): Promise<number> {
  return new Promise((found) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo
      server.close(() => found(port))
    })
  })
}

const missing =
  process.platform === 'win32'
    ? 'a page for a Unix shell'
    : loadBinding().backend.kind === 'fallback'
      ? 'dead letters on disk need the addon'
      : ''

describe.skipIf(missing !== '')(`the page about dead letters${missing === '' ? '' : ` (skipped: ${missing})`}`, () => {
  let steps: Step[]
  beforeAll(async () => {
    const port = String(await freePort())
    cpSync(example, shop, { recursive: true })
    const config = join(shop, 'linkmesh.config.mjs')
    writeFileSync(config, readFileSync(config, 'utf8').replace('8642', port))
    const page = readFileSync(join(shop, 'README.md'), 'utf8').replaceAll('8642', port)
    steps = parse(page)
    mkdirSync(join(root, 'bin'))
    const main = join(process.env.LINKMESH_TEST_BUILD as string, 'cli/main.js')
    writeFileSync(join(root, 'bin/linkmesh'), `#!/bin/sh\nexec '${process.execPath}' '${main}' "$@"\n`, { mode: 0o755 })
  })
  afterAll(async () => {
    running?.child.kill('SIGTERM')
    await running?.ended
    rmSync(root, { recursive: true, force: true })
  })

  it('does what it says, to the end', { timeout: 180_000 }, async () => {
    expect(steps.length).toBeGreaterThan(8)
    for (const { commands, background, prints } of steps) {
      if (background) {
        const [program, ...args] = (commands[0] as string).split(' ')
        expect(program).toBe('linkmesh')
        running = start(args, { cwd: shop, env: env as Record<string, string> })
        await running.text(/is up at/)
        continue
      }
      let output = ''
      for (const command of commands) {
        const ended = await shell(command)
        expect(ended.code, `${command}\n${ended.output}`).toBe(0)
        output += `${ended.output}\n`
      }
      // In any order: which instance registers first is not said.
      for (const line of prints) expect(output, line).toMatch(pattern(line))
    }
  })
})
