/**
 * `npm test`: builds what has changed and runs every test. The last line is the sum of all runners.
 * `--typescript` leaves the Rust tests out, for machines that test an addon built elsewhere.
 */
import { addon, addons, rustHint } from './lib/addon.mjs'
import { cargoTests } from './lib/cargo.mjs'
import { Counts } from './lib/counts.mjs'
import { install } from './lib/install.mjs'
import { main, runSteps } from './lib/steps.mjs'
import { declarations, javascript } from './lib/typescript.mjs'
import { vitest } from './lib/vitest.mjs'

const announce = (name) => process.stderr.write(`\n── ${name} ──\n`)

await main(async () => {
  await runSteps([install, addon, javascript, declarations])
  const counts = new Counts()

  if (!process.argv.includes('--typescript')) counts.add(await cargoTests(announce))
  const native = addons().length > 0
  announce(native ? 'vitest' : `vitest (${rustHint})`)
  counts.add(await vitest('vitest', []))
  if (native) {
    announce('vitest, conformance on the fallback')
    const forced = await vitest('vitest on the fallback', ['test/conformance'], {
      env: { LINKMESH_BACKEND: 'fallback' },
    })
    // What needs native code is left out here on purpose, and has run above.
    forced.skipped.clear()
    counts.add(forced)
  }

  counts.print()
  process.stdout.write(`${counts.line}\n`)
  return counts.failed === 0 ? 0 : 1
})
