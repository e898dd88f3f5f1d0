/** Runs the real command, from the transpiled sources of `test/support/build.ts`. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { join, resolve } from 'node:path'

const root = resolve(import.meta.dirname, '../..')
const main = join(process.env.LINKMESH_TEST_BUILD as string, 'cli/main.js')

export interface Ended {
  code: number | null
  stdout: string
  stderr: string
  /** The lines of stdout that are JSON, in order. */
  json: Record<string, unknown>[]
}

/** The command as it runs. */
export interface Running {
  child: ChildProcessWithoutNullStreams
  /** Resolves with the first JSON line that `wanted` accepts. */
  line(wanted: (value: Record<string, unknown>) => boolean): Promise<Record<string, unknown>>
  /** Resolves when stdout matches. */
  text(wanted: RegExp): Promise<void>
  ended: Promise<Ended>
}

export const STOREFRONT = join(root, 'examples/storefront/linkmesh.config.ts')

/** Starts `linkmesh …`. It is killed when it runs longer than `timeoutMs`: then its code is null. */
export function start(
  args: readonly string[],
  {
    env = {},
    cwd = root,
    timeoutMs = 150_000,
  }: { env?: Record<string, string>; cwd?: string; timeoutMs?: number } = {},
): Running {
  const child = spawn(process.execPath, [main, ...args], {
    cwd,
    env: { ...process.env, NO_COLOR: '1', ...env },
    timeout: timeoutMs,
    killSignal: 'SIGKILL',
  })
  let stdout = ''
  let stderr = ''
  let unread = ''
  const json: Record<string, unknown>[] = []
  const watchers = new Set<(value: Record<string, unknown>) => void>()
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    stdout += chunk
    unread += chunk
    const lines = unread.split('\n')
    unread = lines.pop() as string
    for (const text of lines) {
      if (!text.startsWith('{')) continue
      const value = JSON.parse(text) as Record<string, unknown>
      json.push(value)
      for (const watch of watchers) watch(value)
    }
  })
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    stderr += chunk
  })
  const ended = new Promise<Ended>((done) => child.on('close', (code) => done({ code, stdout, stderr, json })))
  const missed = async (): Promise<never> => {
    await ended
    throw new Error(`ended without what was waited for\n${stdout}\n${stderr}`)
  }
  return {
    child,
    ended,
    text: (wanted) =>
      Promise.race([
        missed(),
        new Promise<void>((found) => child.stdout.on('data', () => wanted.test(stdout) && found())),
      ]),
    line: (wanted) => {
      const known = json.find(wanted)
      if (known) return Promise.resolve(known)
      return Promise.race([
        missed(),
        new Promise<Record<string, unknown>>((found) => watchers.add((value) => wanted(value) && found(value))),
      ])
    },
  }
}

/** Runs `linkmesh …` to its end. */
export const linkmesh = (args: readonly string[], options?: Parameters<typeof start>[1]): Promise<Ended> =>
  start(args, options).ended
