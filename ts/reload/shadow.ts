/**
 * What the latest picks would have become under another policy or with other instances.
 *
 * The router remembers its latest picks. They are made again, at virtual time, by a router of their own: once as things
 * are and once as they would be, with the same seed. Each instance answers as late as it does now. Nothing of the running
 * mesh is touched.
 */
import type { InstanceSpec, Policy, RecordedPick } from '../binding/contract.js'
import { Outcome, Scratch } from '../binding/contract.js'
import { errorOfStatus } from '../errors.js'
import type { Mesh } from '../mesh.js'
import { checkPolicy, onTrial } from './trial.js'

/** One side of the comparison. */
export interface ShadowSide {
  policy: Policy
  instances: ShadowInstance[]
}

export interface ShadowInstance extends Omit<InstanceSpec, 'address' | 'leaseMs'> {
  /** What it is called; the same on both sides for the same instance. */
  name: string
  /** How long it takes to answer, microseconds. */
  latencyUs: number
}

export interface ShadowPlan {
  services: { service: string; before: ShadowSide; after: ShadowSide }[]
}

/** One service of the comparison. */
export interface ShadowedService {
  service: string
  /** Picks that were made again. */
  picks: number
  /** Share of the picks that would go elsewhere, 0 to 1: half the sum of the differences of the instances' shares. */
  moved: number
  /** Keys among the picks, and how many would be on another instance. */
  keys: number
  keysMoved: number
  /** Picks that found every instance at its limit or out. */
  refused: { before: number; after: number }
  /** Mean of the picked instances' latencies, microseconds. */
  latencyUs: { before: number; after: number }
  /** Share of the picks, by instance; null: it is not there on that side. */
  instances: { instance: string; before: number | null; after: number | null }[]
}

export interface ShadowReport {
  /** Recorded picks of all services that there were. */
  recorded: number
  services: ShadowedService[]
}

/**
 * Made again for each service of the plan that has recorded picks; null when none has.
 *
 * @throws LinkmeshError when this backend does not run a policy that would be, whether picks are recorded or not
 */
export function shadow(mesh: Mesh, plan: ShadowPlan): ShadowReport | null {
  for (const { service, after } of plan.services) checkPolicy(service, after.policy)
  if (plan.services.length === 0) return null
  const recorded = mesh.recordedPicks()
  const services = plan.services.flatMap(({ service, before, after }) => {
    const picks = recorded.filter((pick) => pick.service === service)
    return picks.length === 0
      ? []
      : [compared(service, before, after, replay(service, before, picks), replay(service, after, picks))]
  })
  return services.length === 0 ? null : { recorded: recorded.length, services }
}

interface Replayed {
  /** By the instance's name. */
  counts: Map<string, number>
  /** By key hash: the instance it was on last. */
  keys: Map<number, string>
  picked: number
  refused: number
  latencyUs: number
}

function compared(
  service: string,
  before: ShadowSide,
  after: ShadowSide,
  was: Replayed,
  would: Replayed,
): ShadowedService {
  const has = (side: ShadowSide, name: string): boolean => side.instances.some((instance) => instance.name === name)
  const share = (of: Replayed, name: string): number => (of.picked === 0 ? 0 : (of.counts.get(name) ?? 0) / of.picked)
  const names = [...new Set([...before.instances, ...after.instances].map(({ name }) => name))]
  const instances = names.map((name) => ({
    instance: name,
    before: has(before, name) ? share(was, name) : null,
    after: has(after, name) ? share(would, name) : null,
  }))
  return {
    service,
    picks: was.picked + was.refused,
    moved: instances.reduce((sum, one) => sum + Math.abs((one.after ?? 0) - (one.before ?? 0)), 0) / 2,
    keys: was.keys.size,
    keysMoved: [...was.keys].filter(([key, name]) => would.keys.has(key) && would.keys.get(key) !== name).length,
    refused: { before: was.refused, after: would.refused },
    latencyUs: { before: was.latencyUs, after: would.latencyUs },
    instances,
  }
}

/** Makes the picks at virtual time, each answered when its instance would answer. */
function replay(name: string, { policy, instances }: ShadowSide, picks: readonly RecordedPick[]): Replayed {
  return onTrial(name, policy, (binding, mesh, service) => {
    const known = new Map<number, ShadowInstance>()
    for (const instance of instances) {
      const { name, latencyUs: _latency, ...spec } = instance
      const added = binding.instanceAdd(mesh, service, JSON.stringify({ ...spec, address: name }))
      if (added < 0) throw errorOfStatus(binding, added, `instance ${name}`)
      known.set(added, instance)
    }
    const result: Replayed = { counts: new Map(), keys: new Map(), picked: 0, refused: 0, latencyUs: 0 }
    const scratch = binding.scratch()
    /** Tickets under way, by the time of their answer. */
    const open: { atUs: number; ticket: number }[] = []
    let nowUs = 0
    const advance = (toUs: number): void => {
      if (toUs > nowUs) binding.meshAdvance(mesh, toUs - nowUs)
      nowUs = Math.max(nowUs, toUs)
    }
    const startUs = (picks[0] as RecordedPick).atUs
    for (const { atUs, keyHash } of picks) {
      const at = atUs - startUs
      while (open.length > 0 && (open[0] as { atUs: number }).atUs <= at) {
        const done = open.shift() as { atUs: number; ticket: number }
        advance(done.atUs)
        binding.complete(mesh, done.ticket, Outcome.Ok, -1)
      }
      advance(at)
      const ticket = binding.pick(mesh, service, keyHash)
      if (ticket <= 0) {
        result.refused++
        continue
      }
      const { name, latencyUs } = known.get(scratch[Scratch.Instance] as number) as ShadowInstance
      result.picked++
      result.counts.set(name, (result.counts.get(name) ?? 0) + 1)
      if (keyHash !== 0) result.keys.set(keyHash, name)
      result.latencyUs += latencyUs
      insert(open, { atUs: at + latencyUs, ticket })
    }
    if (result.picked > 0) result.latencyUs /= result.picked
    return result
  })
}

/** Keeps the list in the order of time. */
function insert<T extends { atUs: number }>(list: T[], item: T): void {
  let at = list.length
  while (at > 0 && (list[at - 1] as T).atUs > item.atUs) at--
  list.splice(at, 0, item)
}
