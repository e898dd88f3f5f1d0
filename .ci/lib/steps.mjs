/** Progress of a command that takes several steps: `[2/5] building the addon (release) … 41 s`. */

/** A step that failed for a reason the reader can act on. `output` is the end of what the tool printed. */
export class StepError extends Error {
  /** @param {string} message @param {string} [output] */
  constructor(message, output) {
    super(message)
    this.output = output
  }
}

/**
 * @typedef {{ name: string, run: (report: (detail: string) => void) => Promise<string | void> }} Step
 *   `run` resolves with a note for the line of the step (`up to date`, `skipped: …`), and throws {@link StepError}.
 */

const OUTPUT_LINES = 40
const terminal = process.stderr.isTTY === true

/**
 * Runs the steps in order. Everything goes to stderr, so that a command's own output stays clean.
 *
 * @param {Step[]} steps
 * @returns {Promise<void>} throws {@link StepError} of the first step that failed
 */
export async function runSteps(steps) {
  for (const [index, step] of steps.entries()) {
    const head = `[${index + 1}/${steps.length}] ${step.name}`
    const began = performance.now()
    let detail = ''
    const draw = () => {
      const line = `${head} … ${elapsed(began)}${detail && `  ${detail}`}`
      process.stderr.write(`\r\u001b[K${line.slice(0, (process.stderr.columns ?? 80) - 1)}`)
    }
    const timer = terminal ? setInterval(draw, 200) : undefined
    if (terminal) draw()
    const finish = (note) => {
      clearInterval(timer)
      process.stderr.write(`${terminal ? '\r\u001b[K' : ''}${head}: ${note}\n`)
    }
    // Without a terminal a long step says that it began; a short one only that it ended.
    const announce = terminal ? undefined : setTimeout(() => process.stderr.write(`${head} …\n`), 2_000)
    try {
      const note = await step.run((text) => {
        detail = text
      })
      finish(note ?? elapsed(began))
    } catch (error) {
      finish('failed')
      throw error
    } finally {
      clearTimeout(announce)
    }
  }
}

/** Runs the body of a command; a {@link StepError} becomes its message, the end of the output and exit code 1. */
export async function main(body) {
  try {
    process.exitCode = (await body()) ?? 0
  } catch (error) {
    if (!(error instanceof StepError)) throw error
    const tail = error.output?.trimEnd().split('\n').slice(-OUTPUT_LINES).join('\n')
    process.stderr.write(`\n${tail ? `${tail}\n\n` : ''}${error.message}\n`)
    process.exitCode = 1
  }
}

/** `0.4 s`, `41 s`, `3 min 5 s` since `began` (milliseconds of `performance.now`). */
export function elapsed(began) {
  const seconds = (performance.now() - began) / 1000
  if (seconds < 10) return `${seconds.toFixed(1)} s`
  if (seconds < 90) return `${Math.round(seconds)} s`
  return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`
}
