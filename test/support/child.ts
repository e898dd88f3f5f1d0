/** Child processes with a deadline: the only way to see that a process ends by itself. */
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

export interface ChildResult {
  code: number | null
  signal: NodeJS.Signals | null
  /** Lines of JSON that the fixture printed. */
  said: Record<string, unknown>[]
  stderr: string
  /** From the fixture's own `{"event": "idle"}` line, or its start, to its end. */
  idleMs: number
}

/** Runs `test/process/fixtures/NAME.mjs`; kills it after `deadlineMs`. */
export function child(
  name: string,
  args: string[] = [],
  deadlineMs = 20_000,
  nodeArgs: string[] = [],
): Promise<ChildResult> {
  const file = fileURLToPath(new URL(`../process/fixtures/${name}.mjs`, import.meta.url))
  return new Promise((resolve) => {
    const started = spawn(process.execPath, [...nodeArgs, file, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: process.env,
    })
    const said: Record<string, unknown>[] = []
    let stderr = ''
    let rest = ''
    let idleAt = performance.now()
    const timer = setTimeout(() => started.kill('SIGKILL'), deadlineMs)
    started.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text
    })
    started.stdout.setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) {
        const message = JSON.parse(line) as Record<string, unknown>
        if (message.event === 'idle') idleAt = performance.now()
        said.push(message)
      }
    })
    started.on('close', (code, signal) => {
      clearTimeout(timer)
      resolve({ code, signal, said, stderr, idleMs: performance.now() - idleAt })
    })
  })
}
