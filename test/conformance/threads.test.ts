/** What needs other threads: refused by the fallback, which says what to install; the wake of one thread works on both. */
import { expect, it } from 'vitest'
import { Status } from '../../ts/binding/contract.js'
import { onBothBackends, refusal } from './backends.js'
import { openMesh } from './open-mesh.js'

onBothBackends('threads', (binding) => {
  it('lanes and bodies work, or say what to install', () => {
    const { b, mesh } = openMesh(binding())
    const lane = b.laneOpen(mesh, 1)
    if (b.info().backend === 'native') {
      expect(lane).toBeGreaterThan(0)
      expect(b.laneMemory(mesh, lane)?.byteLength).toBeGreaterThan(0)
      const body = Uint8Array.of(1, 2, 3)
      const id = b.blobPut(mesh, body)
      expect([...(b.blobTake(mesh, id) ?? [])]).toEqual([1, 2, 3])
      expect(b.blobTake(mesh, id)).toBe(null)
      return
    }
    const calls = [
      () => b.laneOpen(mesh, 1),
      () => b.laneCommit(mesh, 1, 8),
      () => b.laneRelease(mesh, 1, 8),
      () => b.blobPut(mesh, Uint8Array.of(1)),
    ]
    for (const call of calls) {
      expect(call()).toBe(Status.NativeRequired)
      expect(refusal(b)).toEqual({ status: Status.NativeRequired, field: 'backend' })
      expect(b.lastError()).toContain('install')
    }
    expect(b.laneMemory(mesh, 1)).toBe(null)
    expect(b.blobTake(mesh, 1)).toBe(null)
  })

  it('wakes once per arming, for a change and for a grant', async () => {
    const { b, mesh, define, add } = openMesh(binding())
    const service = define('a', { concurrency: 1 })
    add(service, { address: 'http://a' })
    let wakes = 0
    let woken: (() => void) | undefined
    const next = () =>
      new Promise<void>((resolve) => {
        woken = resolve
      })
    expect(
      b.onWake(mesh, () => {
        wakes++
        woken?.()
      }),
    ).toBe(0)
    // What happened before the arming is found by looking again, not by a wake.
    while (b.inboxArm(mesh) === 1) expect(b.inboxPoll(mesh)).toBe(0)
    let wake = next()
    define('b')
    define('c')
    await wake
    expect(wakes).toBe(1)
    const held = b.pick(mesh, service, 0)
    const waiting = b.wait(mesh, service, 0, 60_000, 0)
    while (b.inboxArm(mesh) === 1) expect(b.inboxPoll(mesh)).toBe(0)
    wake = next()
    b.complete(mesh, held, 0, 10)
    await wake
    expect(wakes).toBe(2)
    const out = new Float64Array(4)
    expect(b.grants(mesh, out)).toBe(1)
    expect(out[0]).toBe(waiting)
    b.complete(mesh, out[1] as number, 0, 10)
  })

  it('a real clock ends leases and waits by itself', async () => {
    const { b, mesh, define, add } = openMesh(binding(), { manualClock: false })
    const service = define('a', { concurrency: 1 })
    const instance = add(service, { address: 'http://a', leaseMs: 30 })
    b.pick(mesh, service, 0)
    const waiting = b.wait(mesh, service, 0, 10, 0)
    const out = new Float64Array(4)
    let count = 0
    // The housekeeper works on its own time; the case's deadline bounds this.
    while (count === 0) {
      await new Promise((resolve) => setImmediate(resolve))
      count = b.grants(mesh, out)
    }
    expect([out[0], out[1]]).toEqual([waiting, Status.DeadlineExceeded])
    while (b.instanceInfo(mesh, instance) !== '') await new Promise((resolve) => setImmediate(resolve))
    // The registry forgets it first, the router's membership a moment later.
    let status: number = Status.Saturated
    while (status === Status.Saturated) {
      await new Promise((resolve) => setImmediate(resolve))
      status = b.pick(mesh, service, 0)
    }
    expect(status).toBe(Status.NoInstance)
  })
})
