/**
 * Services and instances come, change and go: the registry first, then the cells, then what picks see. As
 * `crates/routing/src/administer.rs`.
 */
import { type Handle, InstanceWord as Word } from '../../contract.js'
import { invalid } from '../edge.js'
import { type InstanceRecord, readInstancePatch, readInstanceSpec } from '../registry-instance.js'
import { fmix32, hashKey } from '../text.js'
import { healthCode } from './explain.js'
import { seedOf } from './hashing.js'
import { dropLedger } from './ledger.js'
import { type Member, Membership } from './membership.js'
import { DEFAULT_POLICY, type FullPolicy, readPolicy } from './policy.js'
import { grantAll } from './queue.js'
import { ServiceState } from './service.js'
import type { RouterState } from './state.js'

const MOST_LEASE_MS = 2 ** 32 - 1

export function defineService(state: RouterState, name: string, json: string, nowUs: number): Handle {
  const given = json === '' ? undefined : readPolicy(json)
  state.logChanges()
  const { handle, created } = state.registry.define(name, nowUs)
  if (created || given !== undefined) {
    const policy = given ?? DEFAULT_POLICY
    const leaseUs = policy.ticketLeaseMs * 1_000
    state.shortestLeaseUs = Math.min(state.shortestLeaseUs, leaseUs)
    state.nextSweepUs = Math.min(state.nextSweepUs, nowUs + leaseUs)
    const service = state.memberships.get(handle)?.service ?? new ServiceState(policy.retry, nowUs)
    state.memberships.set(handle, new Membership(policy, [], service))
    republish(state, handle, nowUs)
  } else {
    state.showRegistry()
  }
  grantAll(state, nowUs)
  return handle
}

export function removeService(state: RouterState, service: Handle, nowUs: number): void {
  state.logChanges()
  const removed = state.registry.removeService(service, nowUs)
  state.memberships.delete(service)
  for (const instance of removed) state.cells.clear(instance)
  dropLedger(state, service)
  state.showRegistry()
  grantAll(state, nowUs)
}

export function addInstance(state: RouterState, service: Handle, json: string, thread: number, nowUs: number): Handle {
  const spec = readInstanceSpec(json)
  state.logChanges()
  const instance = state.registry.addInstance(service, spec, thread, nowUs)
  republish(state, service, nowUs)
  grantAll(state, nowUs)
  return instance
}

export function updateInstance(state: RouterState, instance: Handle, json: string, nowUs: number): void {
  const patch = readInstancePatch(json)
  state.logChanges()
  state.registry.updateInstance(instance, patch, nowUs)
  republish(state, serviceOf(state, instance), nowUs)
  grantAll(state, nowUs)
}

export function removeInstance(state: RouterState, instance: Handle, nowUs: number): void {
  state.logChanges()
  const service = serviceOf(state, instance)
  state.registry.removeInstance(instance, nowUs)
  detach(state, [{ handle: instance, service }], nowUs)
}

export function renew(state: RouterState, instance: Handle, leaseMs: number, nowUs: number): void {
  if (!Number.isInteger(leaseMs)) throw invalid('leaseMs', 'leaseMs must be a whole number')
  state.registry.renew(instance, Math.min(Math.max(leaseMs, 0), MOST_LEASE_MS), nowUs)
}

/** Removes the instances whose lease ran out. */
export function expireLeases(state: RouterState, nowUs: number): void {
  const deadline = state.registry.nextDeadline()
  if (deadline === undefined || nowUs < deadline) return
  state.logChanges()
  const before = state.registry.instances()
  const expired = new Set(state.registry.expire(nowUs))
  detach(
    state,
    before.filter((instance) => expired.has(instance.handle)),
    nowUs,
  )
}

/** 0 when the instance is not there. */
function serviceOf(state: RouterState, instance: Handle): Handle {
  return state.registry.instance(instance)?.service ?? 0
}

/** Instances that the registry has removed: picks must not find them. */
export function detach(
  state: RouterState,
  removed: readonly { readonly handle: Handle; readonly service: Handle }[],
  nowUs: number,
): void {
  for (const service of new Set(removed.map((instance) => instance.service))) republish(state, service, nowUs)
  for (const { handle } of removed) if (state.cells.is(handle)) state.cells.clear(handle)
}

/** Brings cells and membership of a service to what the registry says. */
function republish(state: RouterState, service: Handle, nowUs: number): void {
  state.showRegistry()
  const record = state.registry.service(service)
  const old = state.memberships.get(service)
  if (record === undefined || old === undefined) return
  const members = record.instances.flatMap((instance) => bringUp(state, instance, old.policy, nowUs))
  state.memberships.set(service, new Membership(old.policy, members, old.service))
}

/** Places an instance that is new, adjusts one that is there. */
function bringUp(state: RouterState, instance: InstanceRecord, policy: FullPolicy, nowUs: number): Member[] {
  const { cells } = state
  const { handle, service, thread, weight, address } = instance
  const limit = instance.concurrency ?? policy.concurrency
  const health = healthCode(instance.health)
  if (cells.is(handle)) {
    if (cells.get(handle, Word.Weight) !== weight || cells.get(handle, Word.Limit) !== limit)
      cells.reweigh(handle, weight, limit)
    cells.setHealth(handle, health)
  } else {
    cells.place({ handle, service, thread, weight, limit, health, nowUs })
  }
  const tier = tierOf(state, instance, policy.balancing)
  if (tier === undefined) return []
  const affinity = address === undefined ? fmix32(handle) : hashKey(address)
  return [{ handle, thread, weight, affinity, seed: seedOf(address ?? String(handle)), tier }]
}

/** First by its priority, then the subset, then the zone; undefined when the subset leaves it out. */
function tierOf(state: RouterState, instance: InstanceRecord, policy: FullPolicy['balancing']): number | undefined {
  const outside = policy.subset.some((tag) => !instance.tags.includes(tag))
  if (outside && policy.subsetFallback === 'none') return undefined
  const elsewhere = policy.zoneFirst && instance.zone !== state.options.zone
  return instance.priority * 4 + (outside ? 2 : 0) + (elsewhere ? 1 : 0)
}
