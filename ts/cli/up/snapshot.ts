/** What the view, the one-line log and `--json` show of a moment: figures only, no text. */
import type { QosClass, ServiceInfo, ThreadInfo } from '../../binding/contract.js'
import type { LatencySummary } from '../../metrics/latency-histogram.js'
import type { LoadReport } from '../load/messages.js'
import type { Fleet, InstanceState } from './fleet.js'
import { INSTANCE_FIELD } from './serve-instance.js'

/** Metadata field with the id of the node that an instance came from. */
const NODE_FIELD = 'linkmesh.node'

export interface InstanceFigures {
  id: string
  /** Its process: the number that `up` gave it, or the first digits of its id; null while there is only this one. */
  node: string | null
  /** Worker thread; -1 in the main thread, null for an instance by address. */
  thread: number | null
  /** `blocked`: its thread's event loop does not turn. `ejected`: kept out, by a key, an operator or outlier detection. */
  state: InstanceState | 'blocked' | 'ejected' | ServiceInfo['instances'][number]['health']
  breaker: 'closed' | 'open' | 'half-open' | '-'
  inFlight: number
  /** Requests it was picked for since the last snapshot, a second. */
  perSecond: number
  latencyUs: number
  failed: number
}

export interface ServiceFigures {
  name: string
  perSecond: number
  queued: number
  /** Classes of service that its policies name, the default left out. */
  classes: QosClass[]
  /** Requests refused for want of room, by class. */
  shed: Partial<Record<QosClass, number>>
  retries: number
  /** Requests that were sent to a second instance. */
  hedges: number
  p50Us: number
  p99Us: number
  instances: InstanceFigures[]
}

export interface Snapshot {
  atMs: number
  requestsPerSecond: number
  latency: LatencySummary
  inFlight: number
  retried: number
  /** Messages that were given up and wait for a redrive, parked ones included. */
  deadLetters: number
  /** The load generator's account; null without one. */
  load: LoadReport | null
  services: ServiceFigures[]
}

/** States in which an instance would be picked. */
const SERVING: ReadonlySet<InstanceFigures['state']> = new Set(['up', 'slow', 'failing', 'healthy', 'degraded'])
const BREAKER_RANK: Record<string, number> = { closed: 0, 'half-open': 1, open: 2 }
type BreakerName = Exclude<InstanceFigures['breaker'], '-'>

/** Folds the mesh's services (`orders.get`, `orders.create`) into the config's (`orders`), per instance. */
export class Figures {
  private picked = new Map<string, number>()
  private atMs = performance.now()
  private blocked: ReadonlySet<number> = new Set()

  constructor(private readonly fleet: Fleet) {}

  /** Per service and instance, since the last call. `threads`: how their event loops do. */
  take(services: readonly ServiceInfo[], threads: readonly ThreadInfo[] = []): ServiceFigures[] {
    const now = performance.now()
    const seconds = Math.max(0.001, (now - this.atMs) / 1_000)
    this.atMs = now
    const groups = new Map<string, ServiceInfo[]>()
    for (const service of services) {
      const name = service.name.split('.', 1)[0] as string
      groups.set(name, [...(groups.get(name) ?? []), service])
    }
    this.blocked = new Set(threads.filter(({ blocked }) => blocked).map(({ id }) => id))
    const before = this.picked
    this.picked = new Map()
    return [...groups].map(([name, members]) => this.fold(name, members, before, seconds))
  }

  private fold(
    name: string,
    members: readonly ServiceInfo[],
    before: Map<string, number>,
    seconds: number,
  ): ServiceFigures {
    const instances = new Map<string, InstanceFigures>()
    for (const { id, node, thread, state } of this.fleet.instances.filter((one) => one.service === name))
      instances.set(id, {
        id,
        node: node === undefined ? null : String(node),
        thread,
        state,
        breaker: '-',
        inFlight: 0,
        perSecond: 0,
        latencyUs: 0,
        failed: 0,
      })
    for (const member of members)
      for (const found of member.instances) {
        const id = found.metadata[INSTANCE_FIELD] ?? found.address ?? `#${found.handle}`
        const thread = found.address === null ? found.thread : null
        const figures: InstanceFigures = instances.get(id) ?? {
          id,
          node: found.metadata[NODE_FIELD]?.slice(0, 8) ?? null,
          thread,
          state: found.health,
          breaker: '-',
          inFlight: 0,
          perSecond: 0,
          latencyUs: 0,
          failed: 0,
        }
        instances.set(id, figures)
        const key = `${member.name} ${found.handle}`
        this.picked.set(key, found.picked)
        const since = (found.picked - (before.get(key) ?? 0)) >>> 0
        figures.perSecond += since / seconds
        figures.inFlight += found.inFlight
        figures.latencyUs = Math.max(figures.latencyUs, found.latencyUs)
        figures.failed += found.failed
        if (found.ejectedUntilMs !== null && SERVING.has(figures.state)) figures.state = 'ejected'
        if (thread !== null && figures.state !== 'killed' && this.blocked.has(thread)) figures.state = 'blocked'
        figures.breaker = worse(figures.breaker, found.breaker)
      }
    const list = [...instances.values()]
    return {
      name,
      instances: list,
      perSecond: list.reduce((sum, instance) => sum + instance.perSecond, 0),
      queued: members.reduce((sum, member) => sum + member.queued, 0),
      classes: classesOf(members),
      shed: shedOf(members),
      retries: members.reduce((sum, member) => sum + member.retries, 0),
      hedges: members.reduce((sum, member) => sum + member.hedges, 0),
      p50Us: Math.max(0, ...members.map((member) => member.latency.p50Us)),
      p99Us: Math.max(0, ...members.map((member) => member.latency.p99Us)),
    }
  }
}

function classesOf(members: readonly ServiceInfo[]): QosClass[] {
  const named = members.flatMap(({ policy }) => policy.qos.class ?? [])
  return [...new Set(named)].filter((one) => one !== 'best-effort')
}

function shedOf(members: readonly ServiceInfo[]): ServiceFigures['shed'] {
  const sum: Partial<Record<QosClass, number>> = {}
  for (const { shed } of members)
    for (const [name, count] of Object.entries(shed) as [QosClass, number][]) sum[name] = (sum[name] ?? 0) + count
  return sum
}

function worse(a: InstanceFigures['breaker'], b: BreakerName): InstanceFigures['breaker'] {
  return a === '-' || (BREAKER_RANK[b] as number) > (BREAKER_RANK[a] as number) ? b : a
}
