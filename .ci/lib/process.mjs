/** Child processes for the scripts in `.ci`: output kept for the error message, limits on time and memory. */
import { spawn, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The repository. */
export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))))
/** What may be deleted at any time: stamps, downloaded Node versions, reports. */
export const cache = join(root, '.cache')

const windows = process.platform === 'win32'
/** Lines of output kept for a failure; the rest is dropped from the front. */
const KEPT_LINES = 4_000

// rustup puts cargo there and tells only login shells.
const cargoHome = join(process.env.CARGO_HOME ?? join(homedir(), '.cargo'), 'bin')
if (existsSync(cargoHome) && !process.env.PATH?.split(delimiter).includes(cargoHome)) {
  process.env.PATH = `${process.env.PATH}${delimiter}${cargoHome}`
}

/**
 * Runs a program without a shell and resolves when it has ended, whatever its exit code.
 *
 * @param {string} command
 * @param {string[]} args
 * @param {{ cwd?: string, env?: Record<string, string>, timeoutMs?: number, show?: boolean, onLine?: (line: string) => void }} [options]
 *   `show` passes the output through as it comes.
 * @returns {Promise<{ code: number, output: string, lines: string[] }>} both streams, in the order they came
 */
export function run(command, args, { cwd = root, env = {}, timeoutMs = 1_800_000, show = false, onLine } = {}) {
  return new Promise((resolve) => {
    const lines = []
    // A group of its own, so that a timeout ends the grandchildren too.
    const child = spawn(command, args, {
      cwd,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: !windows,
      shell: windows && !command.endsWith('.exe') && command !== process.execPath,
    })
    const end = (signal) => {
      try {
        windows ? child.kill(signal) : process.kill(-child.pid, signal)
      } catch {
        // It has ended already.
      }
    }
    const timer = setTimeout(() => {
      lines.push(`stopped: no end after ${Math.round(timeoutMs / 1000)} s`)
      end('SIGKILL')
    }, timeoutMs)
    const interrupted = (signal) => {
      end(signal)
      process.exit(130)
    }
    process.once('SIGINT', interrupted).once('SIGTERM', interrupted)

    for (const stream of [child.stdout, child.stderr]) {
      let rest = ''
      stream.setEncoding('utf8').on('data', (text) => {
        if (show) process.stderr.write(text)
        const parts = (rest + text).split('\n')
        rest = parts.pop()
        for (const part of parts) keep(part)
      })
      stream.on('end', () => rest && keep(rest))
    }
    function keep(line) {
      lines.push(line.replace(/\r$/, ''))
      if (lines.length > KEPT_LINES) lines.splice(0, lines.length - KEPT_LINES)
      onLine?.(line)
    }
    function done(code) {
      clearTimeout(timer)
      process.removeListener('SIGINT', interrupted).removeListener('SIGTERM', interrupted)
      resolve({ code, lines, output: lines.join('\n') })
    }
    child.on('error', (error) => {
      lines.push(`${command}: ${error.message}`)
      done(127)
    })
    child.on('close', (code) => done(code ?? 1))
  })
}

/** Runs npm by the Node that runs this script. */
export function npm(args, options) {
  const own = process.env.npm_execpath
  return own?.endsWith('.js') ? run(process.execPath, [own, ...args], options) : run('npm', args, options)
}

/** First line that `command --version` prints, or undefined when it is not installed. */
export function version(command, args = ['--version']) {
  const result = spawnSync(command, args, { encoding: 'utf8', shell: windows })
  return result.status === 0 ? result.stdout.split('\n')[0].trim() : undefined
}

/** The colours and cursor moves taken out. */
export const plain = (text) =>
  // biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences begin with one
  text.replace(/\u001b\[[0-9;?]*[A-Za-z]/g, '')
