/**
 * 60,000 seeded calls on registry, discovery, router and metrics, made on both backends at the same manual clock: every
 * ticket, handle, status, refusal, JSON answer (parsed, floats exactly) and view compared. The meshes are opened afresh
 * every few thousand calls, so that early states are met often.
 */
import { expect, it } from 'vitest'
import { Status } from '../../ts/binding/contract.js'
import { onBothTogether } from './backends.js'
import { MeshSteps } from './mesh-steps.js'
import { Pair } from './pair.js'
import { fuzzSeed, Random } from './random.js'

const CALLS = Number(process.env.LINKMESH_FUZZ_CALLS ?? 60_000)
const CALLS_PER_MESH = 6_000

/** Answers that a run must have met for its agreement to mean something. */
const MET = [
  'pick ok',
  ...[Status.StaleHandle, Status.NoInstance, Status.BreakerOpen, Status.Saturated, Status.Draining].map(
    (s) => `pick ${s}`,
  ),
  'complete ok',
  `complete ${Status.StaleTicket}`,
  'wait ok',
  `wait ${Status.QueueFull}`,
  `wait ${Status.NoInstance}`,
  'waitCancel ok',
  'grant ok',
  `grant ${Status.DeadlineExceeded}`,
  'orderEnter entered 0 0',
  'orderEnter entered 1 0',
  'orderEnter entered 0 1',
  `orderEnter ${Status.QueueFull}`,
  `orderEnter ${Status.LimitExceeded}`,
  ...[0, 1, 2].map((entry) => `ledgerBegin entered ${entry}`),
  `ledgerSettle ${Status.LimitExceeded}`,
  'grant 0',
  'retry ok',
  'hedge ok',
  `hedge ${Status.NoMatch}`,
  'hedgeAfter ok',
  `grant ${Status.QueueFull}`,
  'completeRejected ok',
  'retry -1',
  'explain ok',
  'discover ok',
  `serviceDefine ${Status.InvalidArgument}`,
  `instanceAdd ${Status.Duplicate}`,
  `instanceAdd ${Status.InvalidArgument}`,
]

onBothTogether('mesh, native against fallback', ({ native, fallback }) => {
  it(`agree on ${CALLS} calls`, { timeout: 300_000 }, async () => {
    const seed = fuzzSeed()
    console.log(`differential mesh: seed ${seed} (LINKMESH_FUZZ_SEED=${seed} repeats it)`)
    const pair = new Pair(native, fallback)
    const random = new Random(seed)
    for (let round = 0; pair.calls < CALLS; round++) {
      const steps = new MeshSteps(pair, random, `differential-${process.pid}-${round}`)
      while (pair.calls < (round + 1) * CALLS_PER_MESH) steps.step()
      steps.compareViews()
      await steps.compareMetrics()
      steps.close()
    }
    expect(pair.calls).toBeGreaterThanOrEqual(CALLS)
    for (const answer of MET) expect(pair.met.get(answer) ?? 0, answer).toBeGreaterThan(0)
  })
})
