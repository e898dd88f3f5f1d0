/** One of the other nodes of `linkmesh up --nodes N`, as the process with the gateway sees it. */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import type { Mesh } from '../../index.js'
import { type FleetInstance, find, type LocalFleet } from './fleet.js'
import type { InstanceSpec } from './instance-spec.js'
import type { NodeChange, NodeCommand, NodeMessage, NodeStart } from './node-process.js'
import type { Fault } from './serve-instance.js'

const START_TIMEOUT_MS = 60_000
/** How long a node may take to finish what it works on. */
const CLOSE_TIMEOUT_MS = 10_000

export class NodeChild implements LocalFleet {
  readonly instances: FleetInstance[]
  /** How often its process ended before it was told to. */
  lost = 0
  private child: ChildProcess | undefined
  private closing = false
  private asked = 0

  constructor(
    private readonly mesh: Mesh,
    private readonly node: number,
    private readonly specs: InstanceSpec[],
    private readonly options: { workers: number | undefined; seed: number | undefined; data: string },
  ) {
    this.instances = specs.map((spec) => this.instance(spec))
  }

  /** Undefined while it is down. */
  get pid(): number | undefined {
    return this.child?.pid
  }

  /** Resolves when all of its instances serve, and are known here. */
  async start(): Promise<void> {
    const { workers, seed, data } = this.options
    const command: NodeStart = {
      type: 'start',
      name: `${this.mesh.name}-${this.node}`,
      address: this.mesh.listening as string,
      token: await this.mesh.invite(),
      data: join(data, `node-${this.node}`),
      specs: [...this.specs],
      ...(workers === undefined ? {} : { workers }),
      ...(seed === undefined ? {} : { seed }),
    }
    const child = fork(new URL('./node-process.js', import.meta.url), { execArgv: [] })
    this.child = child
    child.once('exit', () => {
      if (this.child === child) this.child = undefined
      if (!this.closing) this.lost++
      this.mark('killed')
    })
    const timer = setTimeout(() => child.kill('SIGKILL'), START_TIMEOUT_MS)
    try {
      child.send(command)
      const ready = await Promise.race([
        once(child, 'message'),
        once(child, 'exit').then(() => [
          { type: 'failed', message: 'it ended while it started' } satisfies NodeMessage,
        ]),
      ])
      const message = ready[0] as NodeMessage
      if (message.type === 'failed') throw new Error(`Node ${this.node}: ${message.message}`)
      if (message.type === 'ready') this.place(message.instances)
      this.mark('up')
    } finally {
      clearTimeout(timer)
    }
  }

  /** Those of a process that is down come with it. */
  async grow(specs: readonly InstanceSpec[]): Promise<void> {
    if (specs.length === 0) return
    const more = specs.map((spec) => this.instance(spec))
    this.instances.push(...more)
    try {
      await this.change({ grow: specs })
    } catch (error) {
      for (const instance of more) this.instances.splice(this.instances.indexOf(instance), 1)
      throw error
    }
    this.specs.push(...specs)
    for (const instance of more) instance.state = this.child === undefined ? 'killed' : 'up'
  }

  async shrink(ids: readonly string[]): Promise<void> {
    if (ids.length === 0) return
    for (const id of ids) find(this.instances, id).state = 'leaving'
    await this.change({ shrink: ids })
    for (const id of ids) {
      this.specs.splice(this.specs.findIndex((spec) => spec.id === id), 1) // biome-ignore format: one
      this.instances.splice(this.instances.indexOf(find(this.instances, id)), 1)
    }
  }

  describe(specs: readonly InstanceSpec[]): void {
    for (const [index, { id }] of this.specs.entries())
      this.specs[index] = specs.find((spec) => spec.id === id) ?? (this.specs[index] as InstanceSpec)
    // What is sent after it arrives after it.
    this.change({ describe: specs }).catch(() => {})
  }

  /** Resolves when it is done, or the process is down and will start with it. Rejects with what went wrong there. */
  private async change(change: Omit<NodeChange, 'type' | 'ask'>): Promise<void> {
    const { child } = this
    if (child === undefined || !child.connected) return
    const ask = ++this.asked
    await new Promise<void>((resolve, reject) => {
      const done = (problem?: string): void => {
        child.off('message', onMessage)
        child.off('exit', onExit)
        if (problem === undefined) resolve()
        else reject(new Error(`Node ${this.node}: ${problem}`))
      }
      const onExit = (): void => done()
      const onMessage = (message: NodeMessage): void => {
        if (message.type !== 'changed' || message.ask !== ask) return
        this.place(message.instances)
        done(message.problem)
      }
      child.on('message', onMessage)
      child.once('exit', onExit)
      child.send({ type: 'change', ask, ...change } satisfies NodeCommand)
    })
  }

  private instance({ id, service }: InstanceSpec): FleetInstance {
    return { id, service, node: this.node, thread: -1, state: 'starting' }
  }

  /** In which thread of the process each instance is. */
  private place(there: readonly FleetInstance[]): void {
    for (const instance of this.instances)
      instance.thread = there.find(({ id }) => id === instance.id)?.thread ?? instance.thread
  }

  fault(id: string, fault: Fault | undefined): void {
    const { state } = find(this.instances, id)
    if (state === 'killed' || state === 'starting') return
    this.child?.send({ type: 'fault', id, fault } satisfies NodeCommand)
    // The other instances of its thread are so as well, as in this process.
    const { thread } = find(this.instances, id)
    for (const instance of this.instances) if (instance.thread === thread) instance.state = fault ?? 'up'
  }

  block(id: string, ms: number): void {
    if (find(this.instances, id).state !== 'killed') this.child?.send({ type: 'block', id, ms } satisfies NodeCommand)
  }

  /** Ends the whole process in the middle of what it does. */
  async kill(_id: string): Promise<void> {
    const { child } = this
    if (child === undefined) return
    const ended = once(child, 'exit')
    child.kill('SIGKILL')
    await ended
  }

  async revive(id: string): Promise<void> {
    const { state } = find(this.instances, id)
    if (state === 'slow' || state === 'failing') return this.fault(id, undefined)
    if (state !== 'killed') return
    this.mark('starting')
    await this.start()
  }

  /** Lets it finish what it works on. */
  async close(): Promise<void> {
    this.closing = true
    const { child } = this
    if (child === undefined) return
    const ended = once(child, 'exit')
    const timer = setTimeout(() => child.kill('SIGKILL'), CLOSE_TIMEOUT_MS)
    if (child.connected) child.send({ type: 'close' } satisfies NodeCommand)
    else child.kill('SIGKILL')
    await ended
    clearTimeout(timer)
  }

  private mark(state: FleetInstance['state']): void {
    for (const instance of this.instances) instance.state = state
  }
}
