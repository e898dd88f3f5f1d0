/**
 * `npm run check [-- names…]`: everything that has to hold before a change goes in.
 * Names: format, lint, types, docs, workflows, tests; all of them without a name. A later one runs even when an earlier failed.
 */
import { join } from 'node:path'
import { workflows } from './lib/actionlint.mjs'
import { rust, rustHint } from './lib/addon.mjs'
import { install } from './lib/install.mjs'
import { npm, root, run } from './lib/process.mjs'
import { main, runSteps, StepError } from './lib/steps.mjs'

const package_ = (name, path) => [process.execPath, join(root, 'node_modules', name, path)]
const biome = package_('@biomejs/biome', 'bin/biome')
const tsc = package_('typescript', 'bin/tsc')
const typedoc = package_('typedoc', 'bin/typedoc')

/** @type {Record<string, { rust?: string[][], node?: string[][], env?: Record<string, string> }>} */
const CHECKS = {
  format: {
    rust: [['cargo', 'fmt', '--all', '--check']],
    node: [[...biome, 'format', '--config-path=.ci', '.']],
  },
  lint: {
    // The addon has no Rust tests, and as a test target all that Node calls in it would count as dead.
    rust: [
      [
        'cargo',
        'clippy',
        '--workspace',
        '--exclude',
        'linkmesh-node',
        '--all-targets',
        '--quiet',
        '--',
        '-D',
        'warnings',
      ],
      ['cargo', 'clippy', '--package', 'linkmesh-node', '--quiet', '--', '-D', 'warnings'],
    ],
    node: [[...biome, 'lint', '--config-path=.ci', '--error-on-warnings', '.']],
  },
  types: { node: [[...tsc, '-p', 'tsconfig.json']] },
  docs: {
    rust: [['cargo', 'doc', '--workspace', '--no-deps', '--document-private-items', '--quiet']],
    // Fails on a public type that users cannot name, and on a link that leads nowhere.
    node: [[...typedoc, '--options', '.ci/typedoc.json']],
    env: { RUSTDOCFLAGS: '-D warnings' },
  },
}

/** @returns {import('./lib/steps.mjs').Step} */
function step(name, { rust: rustCommands = [], node: nodeCommands = [], env }) {
  return {
    name,
    async run() {
      for (const [command, ...args] of [...(rust ? rustCommands : []), ...nodeCommands]) {
        const { code, output } = await run(command, args, { env })
        if (code !== 0) throw new StepError(`${name} failed: ${[command, ...args].join(' ')}`, output)
      }
      if (!rust && rustCommands.length > 0) return `TypeScript only: ${rustHint}`
    },
  }
}

await main(async () => {
  const known = [...Object.keys(CHECKS), workflows.name, 'tests']
  const asked = process.argv.slice(2)
  const unknown = asked.find((name) => !known.includes(name))
  if (unknown) throw new StepError(`no check is called ${unknown}; there are ${known.join(', ')}`)
  const wanted = asked.length > 0 ? asked : known

  await runSteps([install])
  const failed = []
  for (const name of wanted) {
    if (name === 'tests') {
      if ((await npm(['test'], { show: true })).code !== 0) failed.push(name)
      continue
    }
    try {
      await runSteps([name === workflows.name ? workflows : step(name, CHECKS[name])])
    } catch (error) {
      if (!(error instanceof StepError)) throw error
      process.stderr.write(`${error.output ?? ''}\n${error.message}\n`)
      failed.push(name)
    }
  }
  if (failed.length > 0) throw new StepError(`check failed: ${failed.join(', ')}`)
})
