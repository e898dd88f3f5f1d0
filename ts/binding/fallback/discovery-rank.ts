/**
 * How good a find is: the formulas of the module docs of `crates/registry/src/discovery`, computed in the order of
 * `rank.rs` so that both backends give the same bits.
 */
import type { DiscoveryResult, InstanceInfo } from '../contract.js'
import type { ReadQuery } from './discovery-query.js'
import type { ServiceRecord } from './registry.js'
import type { LoadSource } from './registry-instance.js'

export type Why = DiscoveryResult['results'][number]['why']

const HALF_LOADED = 32
const HALF_LATENCY_US = 50_000
const HEALTH = { healthy: 1, degraded: 0.5, draining: 0.1, dead: 0 } as const
const BREAKER = { closed: 1, 'half-open': 0.5, open: 0 } as const

/** The weighted sum, from left to right. */
export function scoreOf(why: Why): number {
  return 0.5 * why.match + 0.2 * why.health + 0.15 * why.load + 0.1 * why.latency + 0.05 * why.zone
}

/** The figures of a service; undefined when tags are asked and no instance fits. `match` is what the name gave. */
export function rank(
  service: ServiceRecord,
  query: ReadQuery,
  load: LoadSource,
  match: number,
  kind: Why['kind'],
): Why | undefined {
  const { all, any, none } = query.tags
  const tagged = all.length + any.length + none.length > 0
  let count = 0
  let share = 0
  let health = 0
  let free = 0
  let latency = 0
  let near = 0
  for (const instance of service.instances) {
    const { tags } = instance
    if (instance.health === 'dead' || !all.every((tag) => tags.includes(tag))) continue
    const hits = any.filter((tag) => tags.includes(tag)).length
    if ((any.length > 0 && hits === 0) || none.some((tag) => tags.includes(tag))) continue
    const now = load(instance.handle)
    count += 1
    share = Math.max(share, any.length === 0 ? 1 : hits / any.length)
    health += HEALTH[instance.health] * BREAKER[now.breaker]
    free += loadPart(now.inFlight, now.limit)
    latency += latencyPart(now.latencyUs)
    near += zonePart(instance.zone, query.zone)
  }
  if (count === 0) return tagged ? undefined : { match, health: 0, load: 0, latency: 0, zone: 0, kind }
  return {
    match: tagged ? Math.min(match, share) : match,
    health: health / count,
    load: free / count,
    latency: latency / count,
    zone: near / count,
    kind,
  }
}

function loadPart(inFlight: number, limit: number): number {
  return limit === 0 ? HALF_LOADED / (inFlight + HALF_LOADED) : 1 - Math.min(inFlight / limit, 1)
}

function latencyPart(latencyUs: number): number {
  return Number.isFinite(latencyUs) && latencyUs > 0 ? HALF_LATENCY_US / (HALF_LATENCY_US + latencyUs) : 0.5
}

function zonePart(zone: InstanceInfo['zone'], caller: string): number {
  return caller === '' || zone === caller ? 1 : zone === '' ? 0.5 : 0
}
