/** How commands end and what they print: text for people, one JSON value with `--json`, errors to stderr with a way out. */
import { ConfigError } from '../config/problem.js'
import { LinkmeshError } from '../errors.js'

/** Exit codes: 0 fine, 1 the answer is bad (lost requests, failed self-test, refused), 2 the command or its config is wrong. */
export const EXIT = { ok: 0, failed: 1, usage: 2 } as const

/** A mistake in how a command was called, with what to do about it. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** Prints an error the way the command was asked to print, and sets the exit code. */
export function reportError(error: unknown, json: boolean): void {
  const usage = error instanceof UsageError || error instanceof ConfigError
  process.exitCode = usage ? EXIT.usage : EXIT.failed
  const message = error instanceof Error ? error.message : String(error)
  if (json) {
    const code = error instanceof LinkmeshError ? error.code : usage ? 'LM_USAGE' : 'LM_INTERNAL'
    const problems = error instanceof ConfigError ? { problems: error.problems } : {}
    process.stdout.write(`${JSON.stringify({ error: { code, message, ...problems } })}\n`)
    return
  }
  const hint =
    (error as { code?: unknown } | null)?.code === 'EADDRINUSE'
      ? '\nAnother program has this port; choose one with --port.'
      : ''
  process.stderr.write(`linkmesh: ${message}${hint}\n`)
  if (process.env.LINKMESH_DEBUG && error instanceof Error) process.stderr.write(`${error.stack}\n`)
}
