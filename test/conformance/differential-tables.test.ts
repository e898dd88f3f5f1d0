/** 40,000 seeded calls on tables, made on both backends: every answer, every written array, every refusal compared. */
import { expect, it } from 'vitest'
import { onBothTogether } from './backends.js'
import { Pair } from './pair.js'
import { fuzzSeed, Random } from './random.js'
import { TableSteps } from './table-steps.js'

const CALLS = 40_000

onBothTogether('tables, native against fallback', ({ native, fallback }) => {
  it(`agree on ${CALLS} calls`, { timeout: 120_000 }, () => {
    const seed = fuzzSeed()
    console.log(`differential tables: seed ${seed} (LINKMESH_FUZZ_SEED=${seed} repeats it)`)
    const pair = new Pair(native, fallback)
    const steps = new TableSteps(pair, new Random(seed))
    while (pair.calls < CALLS) steps.step()
    expect(pair.calls).toBeGreaterThanOrEqual(CALLS)
  })
})
