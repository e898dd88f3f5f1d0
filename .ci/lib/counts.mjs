/** What the test runners counted, added up. */

/** @typedef {{ reason: string, count: number }} Skipped */

export class Counts {
  passed = 0
  failed = 0
  /** @type {Map<string, number>} reason → tests */
  skipped = new Map()
  /** @type {string[]} */
  failures = []

  /** @param {string} what @param {number} [count] */
  fail(what, count = 1) {
    this.failed += count
    this.failures.push(what)
  }

  /** @param {string} reason @param {number} [count] */
  skip(reason, count = 1) {
    if (count > 0) this.skipped.set(reason, (this.skipped.get(reason) ?? 0) + count)
  }

  /** @param {Counts} other */
  add(other) {
    this.passed += other.passed
    this.failed += other.failed
    this.failures.push(...other.failures)
    for (const [reason, count] of other.skipped) this.skip(reason, count)
  }

  get skips() {
    let sum = 0
    for (const count of this.skipped.values()) sum += count
    return sum
  }

  /** Prints what failed, and what was skipped and why. */
  print() {
    const lines = [
      ...this.failures.map((failure) => `failed: ${failure}`),
      ...[...this.skipped].map(([reason, count]) => `skipped (${count}): ${reason}`),
    ]
    process.stdout.write(`\n${lines.map((line) => `${line}\n`).join('')}`)
  }

  /** `41 passed, 0 failed, 2 skipped` */
  get line() {
    return `${this.passed} passed, ${this.failed} failed, ${this.skips} skipped`
  }
}

/**
 * Counts of `cargo test`: the sum of its `test result` lines; ignored tests by the reason they give.
 * A run that failed without a failed test (it did not compile, a process died) is one failure.
 *
 * @param {string} name of the run, for the list of failures
 * @param {{ code: number, lines: string[] }} result
 */
export function cargoCounts(name, { code, lines }) {
  const counts = new Counts()
  let ignored = 0
  for (const line of lines) {
    const result = /^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored;/.exec(line)
    const test = /^test (.+?) \.\.\. (FAILED|ignored)(?:, (.+))?$/.exec(line)
    if (result) {
      counts.passed += Number(result[1])
      counts.failed += Number(result[2])
      ignored += Number(result[3])
    } else if (test?.[2] === 'FAILED') {
      counts.failures.push(`${name}: ${test[1]}`)
    } else if (test) {
      counts.skip(test[3] ?? `${test[1]} (ignored)`)
    }
  }
  counts.skip('ignored', ignored - counts.skips)
  if (code !== 0 && counts.failed === 0) counts.fail(`${name}: exit code ${code} and no failed test, see above`)
  if (code === 0 && counts.passed + counts.failed + counts.skips === 0) counts.fail(`${name}: no test ran`)
  return counts
}

/**
 * Counts that `vitest-reporter.mjs` wrote.
 *
 * @param {string} name
 * @param {number} code exit code of the run
 * @param {{ passed: number, failures: string[], skipped: string[] } | undefined} report undefined when none was written
 */
export function vitestCounts(name, code, report) {
  const counts = new Counts()
  if (report) {
    counts.passed = report.passed
    for (const failure of report.failures) counts.fail(`${name}: ${failure}`)
    for (const reason of report.skipped) counts.skip(reason)
  }
  if (code !== 0 && counts.failed === 0) counts.fail(`${name}: exit code ${code} and no failed test, see above`)
  if (code === 0 && counts.passed + counts.skips === 0) counts.fail(`${name}: no test ran`)
  return counts
}
