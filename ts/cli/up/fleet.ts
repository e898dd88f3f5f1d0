/**
 * The running instances: one thread or more of them on the native backend, all in this thread on the fallback.
 * The same four verbs for both: start, slow, kill, revive.
 */
import { startWorkers, type Workers } from '../../adapters/worker.js'
import type { Mesh } from '../../index.js'
import type { InstanceSpec } from './instance-spec.js'
import { dealOut } from './instance-spec.js'
import type { WorkerCommand } from './instance-worker.js'
import { loadHandlers, type ServedInstance, serveInstance } from './serve-instance.js'

export type InstanceState = 'up' | 'slow' | 'killed' | 'starting'

/** One instance as the view shows it. */
export interface FleetInstance {
  id: string
  service: string
  /** Its process, counted from 1, when there are several. */
  node?: number
  /** Index of its worker thread; -1 in the main thread. */
  thread: number
  state: InstanceState
}

/** How much longer the handlers of a slowed instance take, milliseconds. */
export const SLOW_MS = 100

export interface Fleet {
  readonly instances: readonly FleetInstance[]
  slow(id: string, slow: boolean): void
  /** Ends the instance in the middle of what it does; with it the others of its thread. */
  kill(id: string): Promise<void>
  revive(id: string): Promise<void>
  close(): Promise<void>
}

/** Starts all instances and resolves when each serves. */
export async function startFleet(
  mesh: Mesh,
  specs: readonly InstanceSpec[],
  workers: number | undefined,
): Promise<Fleet> {
  if (specs.length === 0) return new MainThreadFleet(mesh, [])
  if (!mesh.capabilities().includes('workers')) {
    const fleet = new MainThreadFleet(mesh, specs)
    for (const { id } of fleet.instances) await fleet.revive(id)
    return fleet
  }
  const threads = dealOut(specs, workers)
  const started = startWorkers(mesh, {
    file: new URL('./instance-worker.js', import.meta.url),
    count: threads.length,
    workerData: { specs: threads },
    timeoutMs: START_TIMEOUT_MS,
  })
  try {
    await started.ready
  } catch (error) {
    await started.terminate()
    throw error
  }
  return new WorkerFleet(started, threads)
}
const START_TIMEOUT_MS = 60_000

class WorkerFleet implements Fleet {
  readonly instances: readonly FleetInstance[]
  constructor(
    private readonly workers: Workers,
    threads: readonly (readonly InstanceSpec[])[],
  ) {
    this.instances = threads.flatMap((specs, thread) =>
      specs.map(({ id, service }): FleetInstance => ({ id, service, thread, state: 'up' })),
    )
    for (const thread of threads.keys()) this.watch(thread)
  }

  slow(id: string, slow: boolean): void {
    const { thread, state } = find(this.instances, id)
    if (state === 'killed' || state === 'starting') return
    this.workers.worker(thread).postMessage({ type: 'slow', ms: slow ? SLOW_MS : 0 } satisfies WorkerCommand)
    this.mark(thread, slow ? 'slow' : 'up')
  }

  async kill(id: string): Promise<void> {
    const { thread } = find(this.instances, id)
    this.mark(thread, 'killed')
    await this.workers.terminate(thread)
  }

  async revive(id: string): Promise<void> {
    const { thread, state } = find(this.instances, id)
    if (state === 'slow') return this.slow(id, false)
    if (state !== 'killed') return
    this.mark(thread, 'starting')
    await this.workers.restart(thread)
    this.watch(thread)
    this.mark(thread, 'up')
  }

  async close(): Promise<void> {
    await this.workers.terminate()
  }

  /** A thread that ends by itself (out of memory, `process.exit` in a handler) is shown as what it is. */
  private watch(thread: number): void {
    this.workers.worker(thread).once('exit', () => this.mark(thread, 'killed'))
  }

  private mark(thread: number, state: InstanceState): void {
    for (const instance of this.instances) if (instance.thread === thread) instance.state = state
  }
}

class MainThreadFleet implements Fleet {
  readonly instances: readonly FleetInstance[]
  private readonly served = new Map<string, ServedInstance>()
  constructor(
    private readonly mesh: Mesh,
    private readonly specs: readonly InstanceSpec[],
  ) {
    this.instances = specs.map(({ id, service }): FleetInstance => ({ id, service, thread: -1, state: 'killed' }))
  }

  slow(id: string, slow: boolean): void {
    const served = this.served.get(id)
    if (!served) return
    served.slowMs = slow ? SLOW_MS : 0
    find(this.instances, id).state = slow ? 'slow' : 'up'
  }

  async kill(id: string): Promise<void> {
    this.served.get(id)?.close()
    this.served.delete(id)
    find(this.instances, id).state = 'killed'
  }

  async revive(id: string): Promise<void> {
    const instance = find(this.instances, id)
    if (instance.state === 'slow') return this.slow(id, false)
    if (instance.state !== 'killed') return
    instance.state = 'starting'
    const spec = this.specs.find((candidate) => candidate.id === id) as InstanceSpec
    this.served.set(id, serveInstance(this.mesh, spec, await loadHandlers(spec)))
    instance.state = 'up'
  }

  async close(): Promise<void> {
    for (const served of this.served.values()) served.close()
    this.served.clear()
  }
}

/** The instance of that id. */
export function find(instances: readonly FleetInstance[], id: string): FleetInstance {
  const found = instances.find((instance) => instance.id === id)
  if (!found) throw new RangeError(`there is no instance ${JSON.stringify(id)}`)
  return found
}
