/** The mesh of the contract, on the fallback: argument checks in the addon's order, then the router, registry and metrics. */
import { NATIVE_HINT } from '../../errors.js'
import { type Binding, type Outcome, Qos, Scratch, Status } from '../contract.js'
import type { IdentityBinding } from '../contract-identity.js'
import type { JournalBinding } from '../contract-journal.js'
import type { MemoryBinding } from '../contract-memory.js'
import type { NodeBinding } from '../contract-node.js'
import type { ReplicaBinding } from '../contract-replicas.js'
import { type Edge, exceeded, Failure, invalid } from './edge.js'
import { Engine, type Joined } from './engine.js'
import { MetricCollector } from './metrics-collector.js'
import { readExemplar } from './metrics-exemplar.js'
import { rendererOf } from './metrics-render.js'
import type { Picked } from './routing.js'
import { Slots } from './slots.js'

const MAX_MESHES = 2 ** 17
const MAX_TICKET = 2 ** 53
const OUTCOMES = 7
const MOST_QOS = Qos.Critical

type MeshFunctions = Omit<
  Binding,
  | 'info'
  | 'lastError'
  | 'scratch'
  | 'selfTestPanic'
  | 'hashKey'
  | 'tableClose'
  | keyof NodeBinding
  | keyof MemoryBinding
  | keyof ReplicaBinding
  | keyof JournalBinding
  | keyof IdentityBinding
  | Extract<keyof Binding, `idTable${string}` | `radix${string}` | `ring${string}` | `lane${string}` | `blob${string}`>
>

/** The functions of the contract from `meshOpen` to `metricsRender`, and those by which a thread is woken. */
export function meshFunctions(edge: Edge, scratch: Uint32Array): MeshFunctions {
  const times = new Float64Array(scratch.buffer)
  const engines = new Map<string, Engine>()
  const meshes = new Slots<Joined>()

  const keep = (joined: Joined): number => {
    const handle = meshes.insert(joined)
    if (handle === undefined) throw exceeded('meshes', 'too many open meshes in this thread', MAX_MESHES)
    return handle
  }
  const must = (mesh: number): Joined => {
    const joined = meshes.get(mesh)
    if (joined === undefined) throw Failure.stale('mesh')
    return joined
  }
  /** Changes the registry and tells every peer. */
  const change = (mesh: number, work: (joined: Joined, nowUs: number) => number): number =>
    edge.number(() => {
      const joined = must(mesh)
      const { engine } = joined
      if (engine.closed) throw new Failure(Status.Closed, 'the mesh was closed')
      const answer = work(joined, engine.now())
      engine.deadlineMoved()
      engine.wakeAll()
      return answer
    })
  const done = (mesh: number, work: (joined: Joined, nowUs: number) => void): 0 | Status =>
    change(mesh, (joined, nowUs) => {
      work(joined, nowUs)
      return 0
    }) as 0 | Status
  const quietly = (mesh: number, work: (joined: Joined) => void): 0 | Status =>
    edge.number(() => {
      work(must(mesh))
      return 0
    }) as 0 | Status
  const ask = (mesh: number, work: (joined: Joined) => string): string => edge.text(() => work(must(mesh)))

  /** What a pick says besides its ticket. */
  const say = (picked: Picked, pickedMs: number): void => {
    scratch[Scratch.Instance] = picked.instance
    scratch[Scratch.Thread] = picked.thread
    scratch[Scratch.RetryAfterMs] = picked.retryAfterMs
    scratch[Scratch.Probe] = Number(picked.probe)
    times[Scratch.PickedMsF64] = pickedMs
  }

  return {
    meshOpen: (options) => edge.number(() => keep(Engine.open(engines, options).join(true))),
    meshAttach: (name) =>
      edge.number(() => {
        const engine = engines.get(name)
        if (engine === undefined)
          throw new Failure(Status.NotFound, `no mesh named '${name}' is open in this process`, 'name')
        return keep(engine.join(false))
      }),
    meshClose: (mesh) =>
      edge.number(() => {
        const joined = meshes.remove(mesh)
        if (joined === undefined) throw Failure.stale('mesh')
        joined.engine.leave(joined)
        if (joined.opener) engines.delete(joined.engine.name)
        return 0
      }) as 0 | Status,
    meshInfo: (mesh) =>
      ask(mesh, ({ engine, peer }) =>
        JSON.stringify({
          name: engine.name,
          thread: peer.id,
          threads: engine.threads(),
          seed: engine.seed,
          nowUs: engine.now(),
          closed: engine.closed,
        }),
      ),
    meshNow: (mesh) => edge.number(() => must(mesh).engine.now()),
    meshAdvance: (mesh, microseconds) => quietly(mesh, ({ engine }) => engine.advance(microseconds)),
    views: (mesh) => {
      const joined = meshes.get(mesh)
      if (joined !== undefined) return joined.engine.router.views
      edge.refuse(Failure.stale('mesh'))
      return { header: new Uint32Array(0), instances: new Uint32Array(0) }
    },

    serviceDefine: (mesh, name, policy) =>
      change(mesh, ({ engine }, now) => engine.router.defineService(name, policy, now)),
    serviceFind: (mesh, name) =>
      edge.number(() => {
        const service = must(mesh).engine.router.findService(name)
        if (service === undefined) throw new Failure(Status.NotFound, `no service '${name}'`, 'service')
        return service
      }),
    serviceRemove: (mesh, service) => done(mesh, ({ engine }, now) => engine.router.removeService(service >>> 0, now)),
    serviceInfo: (mesh, service) =>
      ask(mesh, ({ engine }) => engine.router.serviceInfoJson(service >>> 0, engine.now())),
    serviceList: (mesh) => ask(mesh, ({ engine }) => engine.router.serviceListJson(engine.now())),
    instanceAdd: (mesh, service, spec) =>
      change(mesh, ({ engine, peer }, now) => engine.router.addInstance(service >>> 0, spec, peer.id, now)),
    instanceUpdate: (mesh, instance, patch) =>
      done(mesh, ({ engine }, now) => engine.router.updateInstance(instance >>> 0, patch, now)),
    instanceRemove: (mesh, instance) =>
      done(mesh, ({ engine }, now) => engine.router.removeInstance(instance >>> 0, now)),
    instanceRenew: (mesh, instance, leaseMs) =>
      quietly(mesh, ({ engine }) => {
        engine.router.renew(instance >>> 0, leaseMs, engine.now())
        engine.deadlineMoved()
      }),
    instanceControl: (mesh, instance, order, forMs) =>
      done(mesh, ({ engine }, now) => engine.router.control(instance >>> 0, order, forMs, now)),
    instanceInfo: (mesh, instance) =>
      ask(mesh, ({ engine }) => engine.router.instanceInfoJson(instance >>> 0, engine.now())),
    connectionOpen: (mesh, spec) =>
      edge.number(() => {
        const { engine } = must(mesh)
        return engine.router.connections().open(spec, engine.now())
      }),
    connectionUpdate: (mesh, connection, patch) =>
      quietly(mesh, ({ engine }) => engine.router.connections().update(connection >>> 0, patch)),
    connectionClose: (mesh, connection) =>
      quietly(mesh, ({ engine }) => engine.router.connections().close(connection >>> 0)),
    connectionList: (mesh) => ask(mesh, ({ engine }) => JSON.stringify(engine.router.connections().list())),
    discover: (mesh, query) => ask(mesh, ({ engine }) => engine.router.discoverJson(query, () => engine.now())),
    eventsSince: (mesh, sequence) =>
      ask(mesh, ({ engine }) => {
        if (!(Number.isFinite(sequence) && sequence >= 0))
          throw invalid('sequence', 'a sequence is a number of at least 0')
        return engine.router.eventsJson(Math.trunc(sequence))
      }),

    pick: (mesh, service, keyHash, qos) => {
      const code = qos === undefined ? 0 : qos >>> 0
      if (code > MOST_QOS) return Status.InvalidArgument
      const joined = meshes.get(mesh)
      if (joined === undefined) return Status.StaleHandle
      const { engine, peer, rng } = joined
      if (engine.closed) return Status.Closed
      const picked = joined.picked
      const nowUs = engine.now()
      const ticket = engine.router.pick(rng, service >>> 0, keyHash >>> 0, code as Qos, peer.id, nowUs, picked)
      say(picked, engine.manual ? Number.NaN : nowUs / 1000)
      return ticket
    },
    hedgeAfter: (mesh, service, qos) => {
      const joined = meshes.get(mesh)
      if (qos >>> 0 > MOST_QOS) return Status.InvalidArgument
      if (joined === undefined) return Status.StaleHandle
      const { engine } = joined
      return engine.router.hedgeAfter(service >>> 0, (qos >>> 0) as Qos, engine.now()) ?? Status.NoMatch
    },
    hedge: (mesh, service, instance, qos) => {
      const joined = meshes.get(mesh)
      if (qos >>> 0 > MOST_QOS) return Status.InvalidArgument
      if (joined === undefined) return Status.StaleHandle
      const { engine, peer, rng, picked } = joined
      if (engine.closed) return Status.Closed
      const nowUs = engine.now()
      const asked = [service >>> 0, instance >>> 0, (qos >>> 0) as Qos] as const
      const ticket = engine.router.hedge(rng, ...asked, peer.id, nowUs, picked)
      say(picked, engine.manual ? Number.NaN : nowUs / 1000)
      return ticket
    },
    complete: (mesh, ticket, outcome, latencyUs) => {
      const joined = meshes.get(mesh)
      if (joined === undefined) return Status.StaleHandle
      // NaN fails every comparison, so it is refused here too.
      if (!(ticket >= 0 && ticket < MAX_TICKET) || outcome >>> 0 >= OUTCOMES || !Number.isFinite(latencyUs)) {
        return Status.InvalidArgument
      }
      const { engine } = joined
      const status = engine.router.complete(ticket, (outcome >>> 0) as Outcome, latencyUs, engine.now(), engine.done)
      engine.completed(engine.done)
      return status
    },
    completeRejected: (mesh, ticket, latencyUs, retryAfterMs) => {
      const joined = meshes.get(mesh)
      if (joined === undefined) return Status.StaleHandle
      if (!(ticket >= 0 && ticket < MAX_TICKET) || !Number.isFinite(latencyUs) || !Number.isFinite(retryAfterMs))
        return Status.InvalidArgument
      const { engine } = joined
      const waitMs = Math.max(0, Math.trunc(retryAfterMs))
      const status = engine.router.completeRejected(ticket, latencyUs, waitMs, engine.now(), engine.done)
      engine.completed(engine.done)
      return status
    },
    completeMany: (mesh, tickets, count, outcome) => {
      const joined = meshes.get(mesh)
      if (joined === undefined) return Status.StaleHandle
      if (!(tickets instanceof Float64Array) || !(count >>> 0 <= tickets.length) || outcome >>> 0 >= OUTCOMES) {
        return Status.InvalidArgument
      }
      const { engine } = joined
      const nowUs = engine.now()
      let open = 0
      for (const ticket of tickets.subarray(0, count >>> 0)) {
        if (!(ticket >= 0 && ticket < MAX_TICKET)) continue
        if (engine.router.complete(ticket, (outcome >>> 0) as Outcome, -1, nowUs, engine.done) === 0) open++
        engine.completed(engine.done)
      }
      return open
    },
    wait: (mesh, service, keyHash, timeoutMs, qos) =>
      edge.number(() => {
        const { engine, peer } = must(mesh)
        const code = qos >>> 0
        if (code > MOST_QOS) throw invalid('qos', 'qos is a number of a class, 0 to 5', MOST_QOS)
        const asked = [service >>> 0, keyHash >>> 0, code as Qos] as const
        const answer = engine.router.wait(...asked, peer.id, timeoutMs, engine.now())
        if ('status' in answer) {
          scratch[Scratch.RetryAfterMs] = answer.retryAfterMs
          throw new Failure(answer.status, answer.message)
        }
        engine.deadlineMoved()
        return answer.id
      }),
    waitCancel: (mesh, waitId) =>
      quietly(mesh, ({ engine }) => {
        if (engine.router.waitCancel(waitId >>> 0, engine.now())) return
        throw new Failure(Status.StaleTicket, 'this wait has ended already: its answer is under way', 'waitId')
      }),
    grants: (mesh, out) =>
      edge.number(() => {
        const { engine, peer } = must(mesh)
        const grants = engine.router.takeGrants(peer.id, Math.floor(out.length / 4))
        for (const [i, grant] of grants.entries()) {
          const third = grant.result >= 0 ? grant.instance : grant.retryAfterMs
          out.set([grant.waitId, grant.result, third, grant.thread], 4 * i)
        }
        return grants.length
      }),
    retry: (mesh, service, attempt) =>
      edge.number(() => {
        const { engine, rng } = must(mesh)
        return engine.router.retry(service >>> 0, attempt >>> 0, rng, engine.now())
      }),
    orderEnter: (mesh, service, key) =>
      edge.number(() => {
        const { engine, peer } = must(mesh)
        const { id, waits, broken } = engine.router.orderEnter(service >>> 0, key, peer.id)
        scratch[Scratch.Entered] = Number(waits)
        scratch[Scratch.OrderBroken] = Number(broken)
        return id
      }),
    orderLeave: (mesh, service, key, id, broken) =>
      quietly(mesh, ({ engine, peer }) => {
        const thread = engine.router.orderLeave(service >>> 0, key, id, broken !== 0)
        // The calling thread looks by itself.
        if (thread !== undefined && thread !== peer.id) engine.signal(thread)
      }),
    ledgerBegin: (mesh, service, key) =>
      edge.number(() => {
        const { engine, peer } = must(mesh)
        const { entry, id } = engine.router.ledgerBegin(service >>> 0, key, peer.id, engine.now())
        scratch[Scratch.Entered] = entry
        return id
      }),
    ledgerResult: (mesh, service, key) => meshes.get(mesh)?.engine.router.ledgerResult(service >>> 0, key) ?? null,
    ledgerSettle: (mesh, service, key, id, result) =>
      quietly(mesh, ({ engine, peer }) => {
        const threads = engine.router.ledgerSettle(service >>> 0, key, id, result, engine.now())
        for (const thread of threads) if (thread !== peer.id) engine.signal(thread)
      }),
    ledgerForget: (mesh, service, key, id) =>
      quietly(mesh, ({ engine, peer }) => {
        for (const thread of engine.router.ledgerForget(service >>> 0, key, id))
          if (thread !== peer.id) engine.signal(thread)
      }),
    recordedPicks: (mesh) => ask(mesh, ({ engine }) => engine.router.recordedPicksJson()),
    explain: (mesh, ticket) => ask(mesh, ({ engine }) => engine.router.explainJson(ticket, engine.now()) ?? ''),

    metricOpen: (mesh, kind, name, labels, help) =>
      edge.number(() => {
        const { engine, series } = must(mesh)
        const handle = series.insert(engine.metrics.open(kind >>> 0, name, labels, help))
        if (handle === undefined) throw new Failure(Status.LimitExceeded, 'too many series in this thread', 'series')
        return handle
      }),
    metricRecord: (mesh, metric, value) => {
      const joined = meshes.get(mesh)
      if (joined === undefined) return Status.StaleHandle
      if (!Number.isFinite(value)) return Status.InvalidArgument
      const series = joined.series.get(metric)
      if (series === undefined) return Status.StaleHandle
      return series.record(value) ? 0 : Status.InvalidArgument
    },
    metricsRender: async (mesh, format) => {
      let text: string | undefined
      edge.number(() => {
        const { engine } = must(mesh)
        const write = rendererOf(format)
        const collector = new MetricCollector()
        engine.router.collectMetrics(collector)
        engine.metrics.collect(collector)
        text = write(collector.families())
        return 0
      })
      // The one function that answers with a promise: refused input rejects, and the shell reads `lastError`.
      if (text === undefined) throw new Error(edge.lastError())
      return Buffer.from(text)
    },
    metricExemplar: (mesh, metric, value, traceId, spanId, atMs) =>
      quietly(mesh, ({ series }) => {
        const exemplar = readExemplar(traceId, spanId, value, atMs)
        const one = series.get(metric)
        if (one === undefined) throw Failure.stale('metric')
        if (one.histogram === undefined) throw invalid('metric', 'only a histogram has exemplars')
        one.histogram.exemplify(exemplar)
      }),
    serviceExemplar: (mesh, service, latencyUs, traceId, spanId, atMs) =>
      quietly(mesh, ({ engine }) => {
        const exemplar = readExemplar(traceId, spanId, latencyUs, atMs)
        if (!engine.router.exemplify(service >>> 0, exemplar)) throw Failure.stale('service')
      }),

    simulate: async () =>
      JSON.stringify({
        error: { field: 'backend', message: `a simulation runs the native router; linkmesh ${NATIVE_HINT}` },
      }),

    inboxPoll: (mesh) => (meshes.get(mesh) === undefined ? Status.StaleHandle : 0),
    inboxArm: (mesh) => {
      const joined = meshes.get(mesh)
      if (joined === undefined) return Status.StaleHandle
      return joined.peer.arm() ? 0 : 1
    },
    onWake: (mesh, callback) => quietly(mesh, ({ peer }) => peer.onWake(callback)),
    threads: (mesh) => ask(mesh, ({ engine }) => JSON.stringify(engine.threads())),
  }
}
