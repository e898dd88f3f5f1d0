/** `mesh.admin`: every order is in the audit trail before it is carried out. */
import type {
  ConnectionInfo,
  ControlOrder,
  Explanation,
  InstanceInfo,
  Policy,
  ServiceInfo,
} from '../binding/contract.js'
import type { PeerInfo } from '../binding/contract-node.js'
import type { Backend } from '../binding/index.js'
import { LinkmeshError } from '../errors.js'
import { checkInteger, checkName, checkNumber, checkRecord, invalid, shown } from '../mesh/checks.js'
import type { Core } from '../mesh/core.js'
import { merged } from '../mesh/merge.js'
import { type AdminEvent, followEvents } from './events.js'
import { followPicks } from './picks.js'
import { AdminServer } from './server.js'

export type { AdminEvent } from './events.js'

/** Longest ejection by hand. */
const MAX_EJECTION_MS = 3_600_000
const DEFAULT_EJECTION_MS = 30_000

/** Which instances of a service an order is about. */
export interface InstanceTarget {
  service: string
  /** Its handle, its address or its name (`metadata.instance`). Left out: all of the service. */
  instance?: number | string
}

/** Who gives the order; it stands in the audit trail. */
export interface Orderer {
  /** Default `api`. */
  by?: string
}

/** Everything a mesh can say about itself at one moment. */
export interface Dump {
  atMs: number
  mesh: string
  pid: number
  node: string
  backend: Readonly<Backend>
  threads: { id: number; alive: boolean }[]
  services: ServiceInfo[]
  connections: ConnectionInfo[]
  /** Nodes that are connected. */
  peers: PeerInfo[]
  /** As `metrics.render('json')`. */
  metrics: unknown
}

export class Administration {
  readonly #core: Core
  #server: Promise<AdminServer> | undefined

  /** @internal */
  constructor(core: Core) {
    this.#core = core
  }

  /** All services with their instances, by name. */
  list(): ServiceInfo[] {
    return this.#core.mesh.services()
  }

  /** Takes no new requests; those under way finish. Resolves to the instances it was done to. */
  drain(target: InstanceTarget, who?: Orderer): Promise<number[]> {
    return this.#update('drain', target, { health: 'draining' }, who)
  }

  /** Takes requests again. */
  undrain(target: InstanceTarget, who?: Orderer): Promise<number[]> {
    return this.#update('undrain', target, { health: 'healthy' }, who)
  }

  /** A share of the load: 1 to 1,000. */
  setWeight(target: InstanceTarget, weight: number, who?: Orderer): Promise<number[]> {
    checkInteger(weight, 'weight', 1, 1_000)
    return this.#update('set-weight', target, { weight }, who)
  }

  /** Kept out for `forMs`, default 30 s, at most an hour; 0 ends an ejection. */
  eject(target: InstanceTarget, options: Orderer & { forMs?: number } = {}): Promise<number[]> {
    const { forMs = DEFAULT_EJECTION_MS } = checkRecord(options, 'options') as typeof options
    checkNumber(forMs, 'options.forMs', 0, MAX_EJECTION_MS)
    return this.#control('eject', target, forMs, options)
  }

  /** Opens the breaker until {@link closeBreaker} or {@link reset}: it does not close by itself. */
  openBreaker(target: InstanceTarget, who?: Orderer): Promise<number[]> {
    return this.#control('open-breaker', target, 0, who)
  }

  /** Closes the breaker, with nothing remembered. */
  closeBreaker(target: InstanceTarget, who?: Orderer): Promise<number[]> {
    return this.#control('close-breaker', target, 0, who)
  }

  /** Forgets what was learned: breaker, ejection, latency, share of failures. Counters stay. */
  reset(target: InstanceTarget, who?: Orderer): Promise<number[]> {
    return this.#control('reset', target, 0, who)
  }

  /** Changes the given fields of a service's policy, the others stay. Resolves to the whole policy as it is now. */
  async changePolicy(service: string, patch: Policy, who?: Orderer): Promise<Required<Policy>> {
    checkRecord(patch, 'policy')
    const before = this.#service(service)
    const policy = merged(before.policy, patch)
    return this.#audited('change-policy', service, { patch, before: before.policy }, who, () => {
      this.#core.mesh.define(service, policy as Policy)
      return this.#service(service).policy
    })
  }

  /** @internal What `linkmesh up` does when its config is to be reloaded. */
  onReload: ((options: { dryRun: boolean; by: string }) => Promise<unknown>) | undefined

  /** Reloads the config that this mesh was started from by `linkmesh up`; resolves to the report of the reload. */
  async reload(options: Orderer & { dryRun?: boolean } = {}): Promise<unknown> {
    const { by = 'api', dryRun = false } = checkRecord(options, 'options') as typeof options
    checkName(by, 'by')
    if (this.onReload === undefined)
      throw new LinkmeshError('LM_CONFLICT', 'this mesh was not started from a config: `linkmesh up` does that')
    return this.onReload({ dryRun: dryRun === true, by })
  }

  /** Why an instance was picked, as `mesh.explain`. */
  explain(ticket: number): Explanation | undefined {
    return this.#core.mesh.explain(ticket)
  }

  /** Everything there is to know at this moment, made on this thread: a look for people, not for every second. */
  async dump(): Promise<Dump> {
    const { mesh, binding, handle } = this.#core
    const metrics = JSON.parse(await mesh.metrics.render('json')) as unknown
    const isNode = mesh.capabilities().includes('nodes')
    return {
      atMs: Date.now(),
      mesh: mesh.name,
      pid: process.pid,
      node: process.version,
      backend: mesh.backend,
      threads: JSON.parse(binding.threads(handle)) as Dump['threads'],
      services: mesh.services(),
      connections: JSON.parse(binding.connectionList(handle)) as ConnectionInfo[],
      peers: isNode ? peersOf(mesh) : [],
      metrics,
    }
  }

  /**
   * What happens from now on: changes, breakers, ended threads, and orders as they are given in this thread. Ends when the
   * signal fires. A reader that is slower than what happens misses events and is told so by one of kind `gap`.
   */
  follow(signal?: AbortSignal): AsyncIterableIterator<AdminEvent> {
    return followEvents(this.#core, signal)
  }

  /** Explanations of the picks that this thread makes for a service, at most 50 a second. */
  followPicks(service: string, signal?: AbortSignal): AsyncIterableIterator<Explanation> {
    this.#service(service)
    return followPicks(this.#core.mesh, service, signal)
  }

  /**
   * Opens the local socket for `linkmesh admin`; resolves to its path. Only the user that runs this process can connect:
   * a Unix socket of mode 0600 in a folder of mode 0700, on Windows a named pipe. It does not keep the process alive and goes
   * with the mesh.
   */
  async listen(): Promise<string> {
    this.#server ??= AdminServer.open(this.#core.mesh).catch((error: unknown) => {
      this.#server = undefined
      throw error
    })
    return (await this.#server).path
  }

  /** @internal */
  async end(): Promise<void> {
    const server = await this.#server?.catch(() => undefined)
    this.#server = undefined
    await server?.close()
  }

  #update(action: string, target: InstanceTarget, patch: object, who: Orderer | undefined): Promise<number[]> {
    const { binding, handle } = this.#core
    const text = JSON.stringify(patch)
    return this.#each(action, target, patch, who, (instance) => binding.instanceUpdate(handle, instance, text))
  }

  #control(order: ControlOrder, target: InstanceTarget, forMs: number, who: Orderer | undefined): Promise<number[]> {
    const { binding, handle } = this.#core
    const details = order === 'eject' ? { forMs } : {}
    return this.#each(order, target, details, who, (instance) =>
      binding.instanceControl(handle, instance, order, forMs),
    )
  }

  async #each(
    action: string,
    target: InstanceTarget,
    details: object,
    who: Orderer | undefined,
    act: (instance: number) => number,
  ): Promise<number[]> {
    const { service, instance } = checkRecord(target, 'target') as unknown as InstanceTarget
    const handles = this.#instances(service, instance)
    const name = instance === undefined ? service : `${service} ${instance}`
    return this.#audited(action, name, { ...details, instances: handles }, who, () => {
      for (const one of handles) this.#core.must(act(one), `${action} ${name}`)
      return handles
    })
  }

  /** First the trail, then the deed: when the trail cannot be written, nothing is done. */
  async #audited<T>(
    action: string,
    target: string,
    details: object,
    who: Orderer | undefined,
    act: () => T,
  ): Promise<T> {
    const actor = who?.by ?? 'api'
    checkName(actor, 'by')
    const { audit } = this.#core.mesh
    await audit.append({ actor, action: `admin.${action}`, target, details })
    try {
      return act()
    } catch (error) {
      const { code, message } = error as LinkmeshError
      await audit.append({ actor, action: `admin.${action}.refused`, target, details: { code, message } })
      throw error
    }
  }

  #service(name: string): ServiceInfo {
    checkName(name, 'service')
    const found = this.list().find((service) => service.name === name)
    if (found === undefined)
      throw new LinkmeshError('LM_NOT_FOUND', `there is no service ${shown(name)}`, { field: 'service' })
    return found
  }

  #instances(service: string, wanted: number | string | undefined): number[] {
    const { instances } = this.#service(service)
    if (wanted !== undefined && typeof wanted !== 'number' && typeof wanted !== 'string')
      throw invalid('instance', `instance must be a handle, an address or a name, not ${shown(wanted)}`)
    const found = wanted === undefined ? instances : instances.filter((instance) => isCalled(instance, wanted))
    if (found.length === 0) {
      const known = instances.slice(0, 20).map((instance) => nameOf(instance))
      throw new LinkmeshError(
        'LM_NOT_FOUND',
        wanted === undefined
          ? `${service} has no instance`
          : `${service} has no instance ${shown(wanted)}; it has ${known.join(', ') || 'none'}`,
        { field: 'instance' },
      )
    }
    return found.map(({ handle }) => handle)
  }
}

function isCalled(instance: InstanceInfo, wanted: number | string): boolean {
  if (typeof wanted === 'number') return instance.handle === wanted
  return instance.address === wanted || instance.metadata.instance === wanted || String(instance.handle) === wanted
}

function nameOf({ metadata, address, handle }: InstanceInfo): string {
  return metadata.instance ?? address ?? String(handle)
}

/** Nodes that are connected; none where the mesh was opened without them. */
function peersOf(mesh: { peers(): PeerInfo[] }): PeerInfo[] {
  try {
    return mesh.peers()
  } catch (error) {
    if (error instanceof LinkmeshError) return []
    throw error
  }
}
