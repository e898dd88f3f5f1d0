/**
 * `linkmesh up --nodes N`: the instances spread over processes of this machine. This one is node 1, with the gateway; the
 * others are started here, join it by a token, and serve what they are dealt.
 */
import type { Mesh } from '../../index.js'
import { type FleetInstance, find, type LocalFleet, startFleet } from './fleet.js'
import type { InstanceSpec } from './instance-spec.js'
import { NodeChild } from './node-child.js'
import type { Fault } from './serve-instance.js'

export interface NodesOptions {
  /** How many processes, this one included. */
  count: number
  /** Threads of each. */
  workers: number | undefined
  seed: number | undefined
  /** Folder for the folders of the other nodes. */
  data: string
}

/** Starts all nodes and resolves when each instance serves. */
export async function startNodes(
  mesh: Mesh,
  specs: readonly InstanceSpec[],
  options: NodesOptions,
): Promise<NodesFleet> {
  const [own = [], ...others] = dealNodes(specs, options.count)
  const started: LocalFleet[] = []
  try {
    started.push(await startFleet(mesh, own, options.workers))
    const children = others.map((share, index) => new NodeChild(mesh, index + 2, share, options))
    started.push(...children)
    await Promise.all(children.map((child) => child.start()))
    return new NodesFleet(started[0] as LocalFleet, children)
  } catch (error) {
    for (const fleet of started.reverse()) await fleet.close()
    throw error
  }
}

/** Instances per node. Copies of a service lie apart; a service with one instance stays with the gateway. */
export function dealNodes(specs: readonly InstanceSpec[], count: number): InstanceSpec[][] {
  const nodes: InstanceSpec[][] = Array.from({ length: count }, () => [])
  const dealt = new Map<string, number>()
  for (const spec of specs) {
    const copy = dealt.get(spec.service) ?? 0
    dealt.set(spec.service, copy + 1)
    nodes[copy % count]?.push(spec)
  }
  return nodes
}

/** Everything that runs, wherever. An instance of another node ends with its whole process. */
export class NodesFleet implements LocalFleet {
  constructor(
    private readonly own: LocalFleet,
    private readonly children: readonly NodeChild[],
  ) {}

  get instances(): readonly FleetInstance[] {
    for (const instance of this.own.instances) instance.node = 1
    return [...this.own.instances, ...this.children.flatMap((child) => child.instances)]
  }

  /** Each on the node where it would have been from the start. */
  async grow(specs: readonly InstanceSpec[]): Promise<void> {
    const fleets = [this.own, ...this.children]
    const nodeOf = ({ id }: InstanceSpec): number => (Number(id.slice(id.lastIndexOf('-') + 1)) - 1) % fleets.length
    await Promise.all(fleets.map((fleet, node) => fleet.grow(specs.filter((spec) => nodeOf(spec) === node))))
  }

  async shrink(ids: readonly string[]): Promise<void> {
    const fleets = [this.own, ...this.children]
    const has = (fleet: LocalFleet, id: string): boolean => fleet.instances.some((instance) => instance.id === id)
    await Promise.all(fleets.map((fleet) => fleet.shrink(ids.filter((id) => has(fleet, id)))))
  }

  describe(specs: readonly InstanceSpec[]): void {
    this.own.describe(specs)
    for (const child of this.children) child.describe(specs)
  }

  /** Process ids by node, this one first; undefined for one that is down. */
  get pids(): (number | undefined)[] {
    return [process.pid, ...this.children.map((child) => child.pid)]
  }

  /** Processes that ended before they were told to. */
  get lost(): number {
    return this.children.reduce((sum, child) => sum + child.lost, 0)
  }

  fault(id: string, fault: Fault | undefined): void {
    this.fleetOf(id).fault(id, fault)
  }

  block(id: string, ms: number): void {
    this.fleetOf(id).block(id, ms)
  }

  kill(id: string): Promise<void> {
    return this.fleetOf(id).kill(id)
  }

  revive(id: string): Promise<void> {
    return this.fleetOf(id).revive(id)
  }

  async close(): Promise<void> {
    await Promise.all(this.children.map((child) => child.close()))
    await this.own.close()
  }

  private fleetOf(id: string): LocalFleet {
    const { node = 1 } = find(this.instances, id)
    return node === 1 ? this.own : (this.children[node - 2] as NodeChild)
  }
}
