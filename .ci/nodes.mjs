/** `npm run test:nodes [-- majors…]`: the TypeScript tests, the packed package among them, on each Node.js version. */
import { addon } from './lib/addon.mjs'
import { Counts } from './lib/counts.mjs'
import { install } from './lib/install.mjs'
import { NODE_MAJORS, nodeOf } from './lib/nodes.mjs'
import { main, runSteps } from './lib/steps.mjs'
import { declarations, javascript } from './lib/typescript.mjs'
import { vitest } from './lib/vitest.mjs'

await main(async () => {
  const majors = process.argv.length > 2 ? process.argv.slice(2) : NODE_MAJORS
  const nodes = []
  const fetch = majors.map((major) => ({
    name: `Node ${major}`,
    run: async () => {
      const node = await nodeOf(major)
      nodes.push(node)
      return node.version
    },
  }))
  await runSteps([install, addon, javascript, declarations, ...fetch])
  const total = new Counts()
  const lines = []
  for (const { version, path } of nodes) {
    process.stderr.write(`\n── ${version} ──\n`)
    const counts = await vitest(`Node ${version}`, [], { node: path })
    lines.push(`${version}: ${counts.line}`)
    total.add(counts)
  }
  total.print()
  process.stdout.write(`${lines.join('\n')}\n${total.line}\n`)
  return total.failed === 0 ? 0 : 1
})
