/** A mesh with a manual clock for one case. */
import { afterEach, expect } from 'vitest'
import type { Binding, EventBatch, InstanceInfo, ServiceInfo } from '../../ts/binding/contract.js'

let count = 0
const open: { binding: Binding; mesh: number }[] = []

afterEach(() => {
  for (const { binding, mesh } of open.splice(0)) binding.meshClose(mesh)
})

export interface OpenMesh {
  readonly b: Binding
  readonly mesh: number
  readonly name: string
  define(name: string, policy?: object): number
  add(service: number, spec?: object): number
  instance(handle: number): InstanceInfo
  service(handle: number): ServiceInfo
  events(after?: number): EventBatch
  advanceMs(ms: number): void
}

/** Opens a mesh that closes after the case. Its clock stands still until moved. */
export function openMesh(b: Binding, options: object = {}): OpenMesh {
  const name = `conformance-${process.pid}-${count++}`
  const mesh = b.meshOpen(JSON.stringify({ name, seed: 7, manualClock: true, ...options }))
  expect(mesh, b.lastError()).toBeGreaterThan(0)
  open.push({ binding: b, mesh })
  const positive = (handle: number) => {
    expect(handle, b.lastError()).toBeGreaterThan(0)
    return handle
  }
  return {
    b,
    mesh,
    name,
    define: (service, policy) =>
      positive(b.serviceDefine(mesh, service, policy === undefined ? '' : JSON.stringify(policy))),
    add: (service, spec = {}) => positive(b.instanceAdd(mesh, service, JSON.stringify(spec))),
    instance: (handle) => JSON.parse(b.instanceInfo(mesh, handle)) as InstanceInfo,
    service: (handle) => JSON.parse(b.serviceInfo(mesh, handle)) as ServiceInfo,
    events: (after = 0) => JSON.parse(b.eventsSince(mesh, after)) as EventBatch,
    advanceMs: (ms) => expect(b.meshAdvance(mesh, ms * 1_000)).toBe(0),
  }
}
