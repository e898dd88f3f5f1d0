/**
 * Which tier of a service's members a request goes to: priorities, the subset and the zone, spilling over as health
 * falls. The rules and the numbers of `crates/routing/src/tiers.rs`.
 */
import { Health } from '../../contract.js'
import type { Rng } from '../random.js'
import { fmix32 } from '../text.js'
import type { Cells } from './cells.js'
import type { Membership } from './membership.js'

/** Tiers that are told apart; the last holds all that come after. */
export const MOST_TIERS = 6

/** Percent of the load for each tier, and which are in a panic, as of one millisecond. */
export interface Shares {
  readonly stamp: number
  /** Percent of this tier and those before it. */
  readonly upTo: readonly number[]
  readonly panics: readonly boolean[]
}

/** Of this millisecond, kept in the service's state. */
export function sharesNow(cells: Cells, membership: Membership, nowUs: number): Shares {
  const stamp = (Math.floor(nowUs / 1_000) % 65_535) + 1
  const { service } = membership
  if (service.shares?.stamp !== stamp) service.shares = workOut(cells, membership, nowUs, stamp)
  return service.shares
}

function workOut(cells: Cells, membership: Membership, nowUs: number, stamp: number): Shares {
  const { overprovisioning, panicThreshold } = membership.policy.balancing
  const healthy = membership.pools.map((pool) => {
    let well = 0
    for (let index = pool.from; index < pool.end; index++) if (isHealthy(cells, membership, index, nowUs)) well += 1
    return well / Math.max(pool.length, 1)
  })
  const capable = healthy.map((share) => Math.floor(Math.min(overprovisioning * share * 100, 100)))
  const total = capable.reduce((sum, share) => sum + share, 0)
  const panicking = total < 100
  const upTo: number[] = []
  let given = 0
  for (const share of capable) {
    // All that there is counts as the whole when it is less than that.
    const part = !panicking ? share : total === 0 ? 0 : Math.floor((share * 100) / total)
    given = Math.min(given + part, 100)
    upTo.push(given)
  }
  return { stamp, upTo, panics: healthy.map((share) => panicking && share < panicThreshold) }
}

/** The tier for one request: drawn, or for a key always the same as long as the shares are. */
export function drawTier(shares: Shares, keyHash: number, rng: Rng): number {
  if (shares.upTo.length === 1) return 0
  // The upper half of a 64-bit product: exact, since 100 · 2^32 is far below 2^53.
  const percent =
    keyHash === 0 ? rng.below(100) : Math.floor((fmix32((keyHash ^ 0x74696572) >>> 0) * 100) / 0x1_0000_0000)
  return Math.max(
    shares.upTo.findIndex((end) => percent < end),
    0,
  )
}

function isHealthy(cells: Cells, membership: Membership, index: number, nowUs: number): boolean {
  const { handle } = membership.member(index)
  const state = cells.is(handle) ? cells.state(handle) : undefined
  const health = cells.health(handle)
  if (state === undefined || (health !== Health.Healthy && health !== Health.Degraded)) return false
  const { kind } = state.breaker.verdict(membership.policy.breaker, nowUs)
  return kind === 'admit' || kind === 'probe'
}
