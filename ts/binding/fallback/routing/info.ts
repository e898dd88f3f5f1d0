/** What the router tells about itself: the contract's shapes, and metrics. As `crates/routing/src/info.rs`. */
import { Breaker, type Handle, type InstanceInfo, Outcome, type ServiceInfo } from '../../contract.js'
import type { MetricCollector } from '../metrics-collector.js'
import { type ServiceRecord, staleHandle } from '../registry.js'
import { type InstanceRecord, instanceInfo } from '../registry-instance.js'
import { isEjected } from './look.js'
import { DEFAULT_POLICY } from './policy.js'
import { classWord, RANKS } from './qos.js'
import type { RouterState } from './state.js'

type Labels = readonly (readonly [string, string])[]

const OUTCOME_LABELS: readonly (readonly [Outcome, string])[] = [
  [Outcome.Ok, 'ok'],
  [Outcome.Error, 'error'],
  [Outcome.Timeout, 'timeout'],
  [Outcome.Cancelled, 'cancelled'],
  [Outcome.Rejected, 'rejected'],
  [Outcome.Unreachable, 'unreachable'],
  [Outcome.Unknown, 'unknown'],
]

/** Throws `StaleHandle`. */
export function instanceInfoOf(state: RouterState, instance: Handle, nowUs: number): InstanceInfo {
  const record = state.registry.instance(instance)
  if (record === undefined) throw staleHandle('instance')
  return shown(state, record, nowUs)
}

/** Throws `StaleHandle`. */
export function serviceInfoOf(state: RouterState, service: Handle, nowUs: number): ServiceInfo {
  const record = state.registry.service(service)
  if (record === undefined) throw staleHandle('service')
  return infoOf(state, record, nowUs)
}

/** By name. */
export function serviceListOf(state: RouterState, nowUs: number): ServiceInfo[] {
  return state.registry.servicesByName().map((record) => infoOf(state, record, nowUs))
}

function infoOf(state: RouterState, record: ServiceRecord, nowUs: number): ServiceInfo {
  const membership = state.memberships.get(record.handle)
  const latencies = membership?.service.latencies
  return {
    handle: record.handle,
    name: record.name,
    policy: membership?.policy ?? DEFAULT_POLICY,
    instances: record.instances.map((instance) => shown(state, instance, nowUs)),
    queued: state.waits.length(record.handle),
    shed: membership?.service.shed ?? {},
    retries: membership?.service.budget.granted ?? 0,
    hedges: membership?.service.hedging.budget.granted ?? 0,
    latency: {
      count: latencies?.count ?? 0,
      p50Us: latencies?.quantile(0.5) ?? 0,
      p90Us: latencies?.quantile(0.9) ?? 0,
      p99Us: latencies?.quantile(0.99) ?? 0,
      p999Us: latencies?.quantile(0.999) ?? 0,
    },
  }
}

/** A record with the figures of this moment. */
function shown({ cells, load }: RouterState, record: InstanceRecord, nowUs: number): InstanceInfo {
  const { handle } = record
  const state = cells.is(handle) ? cells.state(handle) : undefined
  const untilMs = state !== undefined && isEjected(state, nowUs) ? state.ejectedUntilUs / 1_000 : null
  return instanceInfo(record, load(handle), untilMs)
}

/** Adds what the router knows to a scrape. Counters come from the cells, so nothing is counted twice. */
export function collectMetrics(state: RouterState, out: MetricCollector): void {
  for (const record of state.registry.servicesByName()) collectService(state, out, record)
  const { keyOrder } = state
  out.gauge('linkmesh_order_waiting', 'Requests that wait for others with their key.', [], keyOrder.waiting)
  out.counter('linkmesh_order_broken_total', 'Requests in an order that were given up.', [], keyOrder.broken)
  out.counter(
    'linkmesh_order_broken_forgotten_total',
    'Broken orders that were forgotten before the next request came.',
    [],
    keyOrder.forgotten,
  )
  const help = 'Breaker changes that the event log missed.'
  out.counter('linkmesh_breaker_events_lost_total', help, [], state.changesLost)
}

function collectService(state: RouterState, out: MetricCollector, record: ServiceRecord): void {
  const service = state.memberships.get(record.handle)?.service
  if (service === undefined) return
  const labels = [['service', record.name]] as const
  out.histogram(
    'linkmesh_request_duration_seconds',
    'Time from pick to completion, cancelled requests excepted.',
    labels,
    service.latencies,
    1e-6,
  )
  const queued = state.waits.length(record.handle)
  out.gauge('linkmesh_queue_depth', 'Requests that wait for a free instance.', labels, queued)
  out.counter('linkmesh_retries_total', 'Retries that the budget granted.', labels, service.budget.granted)
  collectLedger(state, out, record.handle, labels)
  const hedges = service.hedging.budget.granted
  out.counter('linkmesh_hedges_total', 'Requests that were sent to a second instance.', labels, hedges)
  for (const rank of RANKS) {
    const help = 'Requests refused for want of room, by class.'
    out.counter('linkmesh_shed_total', help, [...labels, ['qos', classWord(rank)]], service.shedOf(rank))
  }
  const counts = new Map<string, number>()
  for (const instance of record.instances) {
    const name = instance.address ?? `thread-${instance.thread}`
    // Several instances may live in one thread.
    const count = (counts.get(name) ?? 0) + 1
    counts.set(name, count)
    collectInstance(state, out, instance, count === 1 ? name : `${name}#${count}`)
  }
}

/** Only of services that were asked with idempotency keys. */
function collectLedger(state: RouterState, out: MetricCollector, service: Handle, labels: Labels): void {
  const ledger = state.ledgers.get(service)
  if (ledger === undefined) return
  out.counter('linkmesh_idempotency_hits_total', 'Repeats answered with the first result.', labels, ledger.hits)
  out.counter('linkmesh_idempotency_joins_total', 'Repeats that waited for the first request.', labels, ledger.joins)
  out.counter(
    'linkmesh_idempotency_evictions_total',
    'Results that made room for others before their time was over.',
    labels,
    ledger.evictions,
  )
  out.gauge('linkmesh_idempotency_entries', 'Idempotency keys that are remembered.', labels, ledger.entries.size)
  out.gauge('linkmesh_idempotency_bytes', 'What keys and results take.', labels, ledger.bytes)
}

function collectInstance(state: RouterState, out: MetricCollector, instance: InstanceRecord, name: string): void {
  const cell = state.cells.state(instance.handle)
  if (cell === undefined) return
  const load = state.load(instance.handle)
  const labels = [
    ['service', instance.serviceName],
    ['instance', name],
  ] as const
  if (cell.latencies !== undefined) {
    out.histogram(
      'linkmesh_instance_request_duration_seconds',
      'Time from pick to completion by instance, cancelled requests excepted.',
      labels,
      cell.latencies,
      1e-6,
    )
  }
  for (const [outcome, word] of OUTCOME_LABELS) {
    const count = cell.outcomes[outcome] as number
    out.counter('linkmesh_requests_total', 'Completed requests by outcome.', [...labels, ['outcome', word]], count)
  }
  out.gauge('linkmesh_instance_in_flight', 'Requests picked and not completed.', labels, load.inFlight)
  out.gauge('linkmesh_instance_latency_seconds', 'Peak-EWMA latency estimate.', labels, load.latencyUs * 1e-6)
  const states = { closed: Breaker.Closed, open: Breaker.Open, 'half-open': Breaker.HalfOpen }
  out.gauge('linkmesh_breaker_state', '0 closed, 1 open, 2 half-open.', labels, states[load.breaker])
}
