/** A vitest reporter that writes exact counts and the reasons of skipped tests to the file LINKMESH_TEST_REPORT names. */
import { writeFileSync } from 'node:fs'

export default class CountsReporter {
  onTestRunEnd(modules, unhandledErrors) {
    const report = { passed: 0, failures: [], skipped: [] }
    for (const module of modules) {
      const where = module.relativeModuleId ?? module.moduleId
      for (const error of module.errors()) report.failures.push(`${where}: ${error.message}`)
      for (const suite of module.children.allSuites()) {
        for (const error of suite.errors()) report.failures.push(`${where}: ${suite.fullName}: ${error.message}`)
      }
      for (const test of module.children.allTests()) {
        const { state, note } = test.result()
        if (state === 'passed') report.passed += 1
        else if (state === 'skipped') report.skipped.push(note ?? `${where}: ${skippedPart(test)}`)
        else report.failures.push(`${where}: ${test.fullName}`)
      }
    }
    for (const error of unhandledErrors) report.failures.push(`outside of a test: ${error.message}`)
    writeFileSync(process.env.LINKMESH_TEST_REPORT, JSON.stringify(report))
  }
}

/** Name of the outermost suite that is skipped as a whole, else of the test: one reason, not one for each test. */
function skippedPart(test) {
  let part = test
  for (let suite = test.parent; suite.type === 'suite'; suite = suite.parent) {
    if (suite.options.mode === 'skip') part = suite
  }
  return part.fullName
}
