/**
 * The running instances: one thread or more of them on the native backend, all in this thread on the fallback.
 * The same verbs for both: start, slow, kill, revive, and, while requests go on, grow, shrink and describe anew.
 */
import { startWorkers, type Workers } from '../../adapters/worker.js'
import type { Mesh } from '../../index.js'
import type { InstanceSpec } from './instance-spec.js'
import { dealOut } from './instance-spec.js'
import type { WorkerAnswer, WorkerCommand } from './instance-worker.js'
import { type Fault, loadHandlers, type ServedInstance, serveInstance } from './serve-instance.js'

export type InstanceState = 'up' | Fault | 'killed' | 'starting' | 'leaving'

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

export interface Fleet {
  readonly instances: readonly FleetInstance[]
  /** Makes an instance slow, failing, or as good as it is; with it the others of its thread. */
  fault(id: string, fault: Fault | undefined): void
  /** Blocks the event loop of an instance's thread for so long. */
  block(id: string, ms: number): void
  /** Ends the instance in the middle of what it does; with it the others of its thread. */
  kill(id: string): Promise<void>
  revive(id: string): Promise<void>
  close(): Promise<void>
}

/** Instances of this process, which may become others while requests go on. */
export interface LocalFleet extends Fleet {
  /** Starts more; resolves when each serves, and starts none when one cannot. */
  grow(specs: readonly InstanceSpec[]): Promise<void>
  /** Ends instances when what they have taken is answered. */
  shrink(ids: readonly string[]): Promise<void>
  /** What instances are from now on: tags and version at once, policies when they start again. Others are passed over. */
  describe(specs: readonly InstanceSpec[]): void
}

/** Starts all instances and resolves when each serves. */
export async function startFleet(
  mesh: Mesh,
  specs: readonly InstanceSpec[],
  workers: number | undefined,
): Promise<LocalFleet> {
  if (!mesh.capabilities().includes('workers')) {
    const fleet = new MainThreadFleet(mesh)
    await fleet.grow(specs)
    return fleet
  }
  const fleet = new WorkerFleet(mesh)
  await fleet.start(dealOut(specs, workers))
  return fleet
}
const START_TIMEOUT_MS = 60_000
/** A thread that does not answer for so long after it was told to leave is ended. */
const LEAVE_TIMEOUT_MS = 15_000

/** A thread, and what it serves. */
interface Place {
  workers: Workers
  /** Its index among those. */
  index: number
  /** The very array that its worker is started with. */
  specs: InstanceSpec[]
}

class WorkerFleet implements LocalFleet {
  readonly instances: FleetInstance[] = []
  /** By thread, as the instances name it. */
  private readonly places: Place[] = []
  constructor(private readonly mesh: Mesh) {}

  async start(threads: InstanceSpec[][]): Promise<void> {
    if (threads.length === 0) return
    const workers = startWorkers(this.mesh, {
      file: new URL('./instance-worker.js', import.meta.url),
      count: threads.length,
      workerData: { specs: threads },
      timeoutMs: START_TIMEOUT_MS,
    })
    try {
      await workers.ready
    } catch (error) {
      await workers.terminate()
      throw error
    }
    for (const [index, specs] of threads.entries()) {
      const thread = this.places.push({ workers, index, specs }) - 1
      for (const { id, service } of specs) this.instances.push({ id, service, thread, state: 'up' })
      this.watch(thread)
    }
    this.instances.sort((a, b) => (a.service === b.service ? byNumber(a.id, b.id) : 0))
  }

  grow(specs: readonly InstanceSpec[]): Promise<void> {
    return this.start(specs.map((spec) => [spec]))
  }

  async shrink(ids: readonly string[]): Promise<void> {
    await Promise.all(ids.map((id) => this.leave(id)))
  }

  private async leave(id: string): Promise<void> {
    const instance = find(this.instances, id)
    const place = this.place(instance.thread)
    if (instance.state !== 'killed') {
      instance.state = 'leaving'
      const worker = place.workers.worker(place.index)
      await new Promise<void>((resolve) => {
        const done = (): void => {
          clearTimeout(timer)
          worker.off('exit', done)
          worker.off('message', onMessage)
          resolve()
        }
        const onMessage = (answer: WorkerAnswer): void => {
          if (answer.type === 'left' && answer.id === id) done()
        }
        const timer = setTimeout(done, LEAVE_TIMEOUT_MS)
        worker.once('exit', done)
        worker.on('message', onMessage)
        worker.postMessage({ type: 'leave', id } satisfies WorkerCommand)
      })
    }
    place.specs.splice(
      place.specs.findIndex((spec) => spec.id === id),
      1,
    )
    this.instances.splice(this.instances.indexOf(instance), 1)
    if (place.specs.length === 0) await place.workers.terminate(place.index)
  }

  describe(specs: readonly InstanceSpec[]): void {
    for (const spec of specs) {
      const instance = this.instances.find(({ id }) => id === spec.id)
      if (instance === undefined) continue
      const place = this.place(instance.thread)
      const at = place.specs.findIndex((known) => known.id === spec.id)
      const before = place.specs[at] as InstanceSpec
      place.specs[at] = spec
      const same = before.version === spec.version && String(before.tags) === String(spec.tags)
      if (!same) this.tell(spec.id, { type: 'describe', id: spec.id, version: spec.version, tags: spec.tags ?? [] })
    }
  }

  fault(id: string, fault: Fault | undefined): void {
    const { thread, state } = find(this.instances, id)
    if (state === 'killed' || state === 'starting') return
    this.tell(id, { type: 'fault', fault })
    this.mark(thread, fault ?? 'up')
  }

  block(id: string, ms: number): void {
    if (find(this.instances, id).state !== 'killed') this.tell(id, { type: 'block', ms })
  }

  async kill(id: string): Promise<void> {
    const { thread } = find(this.instances, id)
    this.mark(thread, 'killed')
    const { workers, index } = this.place(thread)
    await workers.terminate(index)
  }

  async revive(id: string): Promise<void> {
    const { thread, state } = find(this.instances, id)
    if (state === 'slow' || state === 'failing') return this.fault(id, undefined)
    if (state !== 'killed') return
    this.mark(thread, 'starting')
    const { workers, index } = this.place(thread)
    await workers.restart(index)
    this.watch(thread)
    this.mark(thread, 'up')
  }

  async close(): Promise<void> {
    await Promise.all([...new Set(this.places.map(({ workers }) => workers))].map((workers) => workers.terminate()))
  }

  private place(thread: number): Place {
    return this.places[thread] as Place
  }

  private tell(id: string, command: WorkerCommand): void {
    const { workers, index } = this.place(find(this.instances, id).thread)
    workers.worker(index).postMessage(command)
  }

  /** A thread that ends by itself (out of memory, `process.exit` in a handler) is shown as what it is. */
  private watch(thread: number): void {
    const { workers, index } = this.place(thread)
    workers.worker(index).once('exit', () => this.mark(thread, 'killed'))
  }

  private mark(thread: number, state: InstanceState): void {
    for (const instance of this.instances) if (instance.thread === thread) instance.state = state
  }
}

class MainThreadFleet implements LocalFleet {
  readonly instances: FleetInstance[] = []
  private readonly specs = new Map<string, InstanceSpec>()
  private readonly served = new Map<string, ServedInstance>()
  constructor(private readonly mesh: Mesh) {}

  async grow(specs: readonly InstanceSpec[]): Promise<void> {
    const loaded = await Promise.all(specs.map(async (spec) => ({ spec, handlers: await loadHandlers(spec) })))
    for (const { spec, handlers } of loaded) {
      this.specs.set(spec.id, spec)
      this.instances.push({ id: spec.id, service: spec.service, thread: -1, state: 'up' })
      this.served.set(spec.id, serveInstance(this.mesh, spec, handlers))
    }
    this.instances.sort((a, b) => (a.service === b.service ? byNumber(a.id, b.id) : 0))
  }

  async shrink(ids: readonly string[]): Promise<void> {
    await Promise.all(
      ids.map(async (id) => {
        const instance = find(this.instances, id)
        instance.state = 'leaving'
        await this.served.get(id)?.leave()
        this.served.delete(id)
        this.specs.delete(id)
        this.instances.splice(this.instances.indexOf(instance), 1)
      }),
    )
  }

  describe(specs: readonly InstanceSpec[]): void {
    for (const spec of specs) {
      if (!this.specs.has(spec.id)) continue
      this.specs.set(spec.id, spec)
      this.served.get(spec.id)?.describe(spec.version, spec.tags ?? [])
    }
  }

  fault(id: string, fault: Fault | undefined): void {
    const served = this.served.get(id)
    if (!served) return
    served.fault = fault
    find(this.instances, id).state = fault ?? 'up'
  }

  /** There is one loop, and the view is on it: blocking it would only freeze the picture. */
  block(): void {}

  async kill(id: string): Promise<void> {
    this.served.get(id)?.close()
    this.served.delete(id)
    find(this.instances, id).state = 'killed'
  }

  async revive(id: string): Promise<void> {
    const instance = find(this.instances, id)
    if (instance.state === 'slow' || instance.state === 'failing') return this.fault(id, undefined)
    if (instance.state !== 'killed') return
    instance.state = 'starting'
    const spec = this.specs.get(id) as InstanceSpec
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

/** `catalog-2` before `catalog-10`. */
function byNumber(a: string, b: string): number {
  return Number(a.slice(a.lastIndexOf('-') + 1)) - Number(b.slice(b.lastIndexOf('-') + 1))
}
