/**
 * `npm run test:history [-- --sockets] [-- --seeds N --seed N]`: histories of remote memory under faults, checked for
 * linearizability and exact sums. Simulated in virtual time, for one exporter and for replicated regions (5,000 seeds of each
 * kind unless told); with `--sockets` over real ones through a hostile network (200 seeds). `--seed` runs one again.
 */
import { parseArgs } from 'node:util'
import { run } from './lib/process.mjs'
import { main, StepError } from './lib/steps.mjs'

await main(async () => {
  const { values } = parseArgs({
    options: { sockets: { type: 'boolean' }, seeds: { type: 'string' }, seed: { type: 'string' } },
  })
  const seeds = values.seeds ?? (values.sockets ? '200' : '5000')
  for (const [name, text] of Object.entries({ seeds, seed: values.seed ?? '0' }))
    if (!/^\d{1,9}$/.test(text)) throw new StepError(`--${name} takes a number, not ${text}`)
  const tests = values.sockets ? ['history'] : ['simulation', 'replica']
  process.stdout.write(
    values.seed === undefined
      ? `${seeds} seeds of ${tests.join(', ')}\n`
      : `seed ${values.seed} of ${tests.join(', ')}\n`,
  )
  const { code } = await run(
    'cargo',
    ['test', '-p', 'linkmesh-memory', ...tests.flatMap((test) => ['--test', test]), '--', '--nocapture'],
    { env: { LINKMESH_SEEDS: seeds, ...(values.seed && { LINKMESH_SEED: values.seed }) }, show: true },
  )
  return code
})
