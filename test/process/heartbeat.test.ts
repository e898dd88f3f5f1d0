/** Event loops that block, seen from outside them: real worker threads that spin, sleep and recover. */
import { once } from 'node:events'
import { afterEach, describe, expect, it } from 'vitest'
import { startWorkers, type Workers } from '../../ts/adapters/worker.js'
import { type LoopEvent, Mesh, type ThreadInfo } from '../../ts/index.js'
import { NO_NATIVE } from '../support/native.js'

const file = new URL('./fixtures/service.mjs', import.meta.url)

describe.skipIf(NO_NATIVE !== '')(`the heartbeat${NO_NATIVE === '' ? '' : ` (skipped: ${NO_NATIVE})`}`, () => {
  let mesh: Mesh
  let workers: Workers
  let names = 0

  async function start(count: number): Promise<void> {
    mesh = await Mesh.open({ name: `heartbeat-${++names}`, seed: 1 })
    workers = startWorkers(mesh, { file, count, services: 4 })
    await workers.ready
  }
  afterEach(async () => {
    await workers.terminate()
    await mesh.close({ graceMs: 0 })
  })

  const threadOf = (id: number): ThreadInfo => mesh.threads().find((thread) => thread.id === id) as ThreadInfo
  /** The next time a worker's loop blocks or turns again; this thread's own may, where a machine has too much to do. */
  const loop = (blocked: boolean): Promise<LoopEvent> =>
    new Promise((resolve) => {
      const off = mesh.on('loop', (event) => {
        if (event.blocked !== blocked || event.thread === mesh.threadId) return
        off()
        resolve(event)
      })
    })
  const spin = async (ms: number): Promise<void> => {
    const spinning = once(workers.worker(0), 'message')
    workers.worker(0).postMessage({ spinMs: ms })
    await spinning
  }

  it('a loop that spins is blocked, not dead: requests go elsewhere, and back to it with its first turn', async () => {
    await start(2)
    const [blocked, free] = [loop(true), loop(false)]
    // Not by a request: nothing that the mesh sees tells it.
    await spin(1_500)
    const event = await blocked
    expect(threadOf(event.thread)).toMatchObject({ alive: true, blocked: true })
    expect(threadOf(event.thread).lagUs).toBeGreaterThan(40_000)
    // All of them are answered while it spins: none waits for it.
    const who = await Promise.all(Array.from({ length: 200 }, () => mesh.request<number>('who')))
    expect(new Set(who)).toEqual(new Set([workers.worker(1).threadId]))
    expect(threadOf(event.thread).blocked).toBe(true)
    expect((await free).thread).toBe(event.thread)
    expect(threadOf(event.thread)).toMatchObject({ alive: true, blocked: false })
    const after = await Promise.all(Array.from({ length: 100 }, () => mesh.request<number>('who')))
    expect(new Set(after).size).toBe(2)
  })

  it('explain says that a member was passed over because its loop is blocked', async () => {
    await start(2)
    const blocked = loop(true)
    await spin(1_500)
    await blocked
    const route = mesh.route('who')
    const ticket = route.pick()
    const filters = mesh.explain(ticket)?.candidates.map(({ filter }) => filter)
    route.complete(ticket, 0, 1)
    expect(filters).toContain('blocked')
  })

  it('when all are blocked requests wait for one of them instead of being refused', async () => {
    await start(1)
    const blocked = loop(true)
    await spin(400)
    await blocked
    expect(await mesh.request('who', undefined, { timeoutMs: 10_000 })).toBe(workers.worker(0).threadId)
  })

  it('loops that are idle, and ones that answer many short requests, are not blocked', async () => {
    await start(2)
    const seen: LoopEvent[] = []
    mesh.on('loop', (event) => seen.push(event))
    // That nothing happens has no event: longer than any interval of the watch, asleep; then at work.
    await new Promise((resolve) => setTimeout(resolve, 2_500))
    const until = performance.now() + 1_000
    while (performance.now() < until) await Promise.all(Array.from({ length: 64 }, () => mesh.request('echo', 1)))
    // A machine that gives a thread no processor for 50 ms has blocked it; what counts is that it is over at once.
    expect(mesh.threads().filter(({ blocked }) => blocked)).toEqual([])
    for (const thread of mesh.threads()) expect(thread.utilisation).toBeLessThanOrEqual(1)
    expect(seen.length % 2).toBe(0)
  })
})
