/** Random steps over registry, discovery, router and metrics of one mesh, for the differential fuzz. */
import { INSTANCE_WORDS, InstanceWord, Outcome, type Qos, Scratch, Status } from '../../ts/binding/contract.js'
import { rendered } from './backends.js'
import { DeliverySteps } from './delivery-steps.js'
import type { Pair } from './pair.js'
import type { Random } from './random.js'

const NAMES = [
  'orders',
  'orders.create',
  'orders.cancel',
  'payments',
  'payment',
  'inventory',
  'search',
  'cart',
  'catalog',
]
const BALANCERS = [
  'round-robin',
  'weighted',
  'least-request',
  'peak-ewma',
  'random',
  'adaptive',
  'consistent-hash',
  'maglev',
  'rendezvous',
]
const CLASSES = ['best-effort', 'high-throughput', 'low-latency', 'high-reliability', 'critical']
const BAD_NAMES = ['', '__proto__', 'a b', 'a\0b', 'é', '\ud800', 'n'.repeat(257)]
const TAGS = ['eu', 'us', 'gpu', 'canary', 'v2']
const ZONES = ['a', 'b', '']
const FORGED = [0, -1, Number.NaN, 0.5, 2 ** 31, 2 ** 32, 2 ** 53, Number.POSITIVE_INFINITY]

/** What a view shows on either backend: the words that have a name, of the state word all but the backend's own flags. */
const NAMED_WORDS = Object.values(InstanceWord).filter((word) => word !== InstanceWord.Epoch)
const STATE_SHOWN = 0x3ff

type Json = Record<string, unknown>

export class MeshSteps {
  readonly #pair: Pair
  readonly #random: Random
  readonly #mesh: number
  readonly #services: number[] = []
  readonly #instances: number[] = []
  readonly #connections: number[] = []
  readonly #metrics: number[] = []
  readonly #tickets: number[] = []
  readonly #waits: number[] = []
  /** Handles and tickets that were good once. */
  readonly #gone: number[] = []
  #sequence = 0
  readonly #delivery: DeliverySteps
  readonly #scratch: readonly [Uint32Array, Uint32Array]

  constructor(pair: Pair, random: Random, name: string) {
    this.#pair = pair
    this.#random = random
    this.#mesh = pair.call('meshOpen', JSON.stringify({ name, seed: random.u32(), manualClock: true, zone: 'a' }))
    this.#delivery = new DeliverySteps(pair, random, this.#mesh)
    this.#scratch = [pair.native.scratch(), pair.fallback.scratch()]
    for (const service of NAMES.slice(0, 4)) this.#define(service)
  }

  close(): void {
    this.#pair.call('meshClose', this.#mesh)
  }

  step(): void {
    const kind = this.#random.below(1_000)
    if (kind < 40) this.#delivery.step(this.#one(this.#services))
    else if (kind < 330) this.#pick()
    else if (kind < 350) this.#hedge()
    else if (kind < 635) this.#complete()
    else if (kind < 660) this.#completeMany()
    else if (kind < 720) this.#advance()
    else if (kind < 760) this.#wait()
    else if (kind < 785) this.#grants()
    else if (kind < 810) this.#retry()
    else if (kind < 835) this.#explain()
    else if (kind < 930) this.#registry()
    else if (kind < 960) this.#discover()
    else if (kind < 985) this.#look()
    else this.#metric()
  }

  // --- handles ------------------------------------------------------------------------------------------------

  #one(list: readonly number[]): number {
    const r = this.#random
    if (r.chance(0.02)) return r.of([...FORGED, ...this.#gone.slice(-20), r.u32()])
    return list.length === 0 ? 0 : r.of(list)
  }

  #take(list: number[]): number {
    if (list.length === 0 || this.#random.chance(0.02)) return this.#one(list)
    const [handle = 0] = list.splice(this.#random.below(list.length), 1)
    this.#gone.push(handle)
    return handle
  }

  #kept(list: number[], handle: number): void {
    if (handle > 0 && !list.includes(handle)) list.push(handle)
  }

  // --- routing ------------------------------------------------------------------------------------------------

  #keyHash(): number {
    const r = this.#random
    return r.chance(0.6) ? 0 : r.below(50) + 1
  }

  #qos(): Qos {
    const r = this.#random
    return (r.chance(0.01) ? r.of([6, -1]) : r.below(6)) as Qos
  }

  #hedge(): void {
    const service = this.#one(this.#services)
    const qos = this.#qos()
    const after = this.#pair.call('hedgeAfter', this.#mesh, service, qos)
    this.#pair.note(after > 0 ? 'hedgeAfter ok' : `hedgeAfter ${after}`)
    const ticket = this.#pair.call('hedge', this.#mesh, service, this.#one(this.#instances), qos)
    this.#sameScratch('hedge')
    if (ticket > 0) this.#tickets.push(ticket)
  }

  #sameScratch(after: string): void {
    const [native, fallback] = this.#scratch
    const words = [Scratch.Instance, Scratch.Thread, Scratch.RetryAfterMs, Scratch.Probe]
    const read = (scratch: Uint32Array) => words.map((word) => scratch[word])
    this.#pair.same(`scratch after ${after}`, read(native), read(fallback))
  }

  #pick(): void {
    const service = this.#one(this.#services)
    const qos = this.#qos()
    const ticket = this.#random.chance(0.5)
      ? this.#pair.call('pick', this.#mesh, service, this.#keyHash())
      : this.#pair.call('pick', this.#mesh, service, this.#keyHash(), qos)
    this.#sameScratch('pick')
    if (ticket > 0) this.#tickets.push(ticket)
    // As a caller would: who finds no place asks to wait, and at times thinks better of it.
    if (ticket !== Status.Saturated || this.#random.chance(0.4)) return
    this.#queue(service)
    if (this.#random.chance(0.2)) this.#pair.call('waitCancel', this.#mesh, this.#waits.at(-1) ?? 0)
  }

  #complete(): void {
    const r = this.#random
    const outcome = r.chance(0.7) ? Outcome.Ok : r.chance(0.01) ? r.of([7, -1, Number.NaN]) : r.below(7)
    const latency = r.chance(0.4)
      ? -1
      : r.chance(0.01)
        ? r.of([Number.NaN, Number.POSITIVE_INFINITY, 1e300])
        : r.below(200_000)
    if (outcome === Outcome.Rejected && r.chance(0.5)) {
      const wait = r.chance(0.05) ? r.of([Number.NaN, -1, 1e12, 0.5]) : r.below(r.of([10, 2_000, 600_000]))
      this.#pair.call('completeRejected', this.#mesh, this.#take(this.#tickets), latency, wait)
      return
    }
    this.#pair.call('complete', this.#mesh, this.#take(this.#tickets), outcome as Outcome, latency)
  }

  #completeMany(): void {
    const r = this.#random
    const tickets = Float64Array.from({ length: r.below(5) }, () =>
      r.chance(0.02) ? r.of([Number.NaN, -1, 1e300]) : this.#take(this.#tickets),
    )
    const outcome = r.chance(0.8) ? Outcome.Ok : r.below(8)
    const count = r.chance(0.02) ? r.of([-1, 6, Number.NaN]) : r.below(tickets.length + 1)
    this.#pair.call('completeMany', this.#mesh, tickets, count, outcome as Outcome)
  }

  #advance(): void {
    const r = this.#random
    const step = r.chance(0.01)
      ? r.of([Number.NaN, Number.POSITIVE_INFINITY, 1e16])
      : r.chance(0.05)
        ? -r.below(50_000)
        : r.chance(0.1)
          ? r.below(20_000_000)
          : r.below(r.of([1_000, 100_000, 1_000_000]))
    this.#pair.call('meshAdvance', this.#mesh, step)
    this.#pair.call('meshNow', this.#mesh)
  }

  #wait(): void {
    const r = this.#random
    if (r.chance(0.2)) {
      this.#pair.call('waitCancel', this.#mesh, this.#take(this.#waits))
      return
    }
    this.#queue(this.#one(this.#services))
  }

  #queue(service: number): void {
    const r = this.#random
    const timeout = r.chance(0.03) ? r.of([Number.NaN, -1, 1e12]) : r.below(r.of([500, 60_000]))
    const id = this.#pair.call('wait', this.#mesh, service, this.#keyHash(), timeout, this.#qos())
    if (id > 0) this.#waits.push(id)
  }

  #grants(): void {
    const out = new Float64Array(4 * this.#random.below(6))
    const count = this.#pair.call('grants', this.#mesh, out)
    for (let i = 0; i < count; i++) {
      const ticket = out[4 * i + 1] as number
      if (ticket > 0) this.#tickets.push(ticket)
      this.#pair.note(ticket > 0 ? 'grant ok' : `grant ${ticket}`)
    }
  }

  #retry(): void {
    const r = this.#random
    this.#pair.call('retry', this.#mesh, this.#one(this.#services), r.chance(0.03) ? r.of(FORGED) : r.below(5))
  }

  #explain(): void {
    const recent = this.#tickets.slice(-10)
    this.#pair.call('explain', this.#mesh, this.#random.chance(0.2) ? this.#one(this.#gone) : this.#one(recent))
  }

  // --- registry -----------------------------------------------------------------------------------------------

  #registry(): void {
    const r = this.#random
    const kind = r.below(100)
    if (kind < 12) this.#define(r.chance(0.08) ? r.of(BAD_NAMES) : r.of(NAMES))
    else if (kind < 14) this.#pair.call('serviceRemove', this.#mesh, this.#take(this.#services))
    else if (kind < 18) this.#pair.call('serviceFind', this.#mesh, r.of([...NAMES, ...BAD_NAMES]))
    else if (kind < 50)
      this.#kept(this.#instances, this.#pair.call('instanceAdd', this.#mesh, this.#one(this.#services), this.#spec()))
    else if (kind < 68) this.#pair.call('instanceUpdate', this.#mesh, this.#one(this.#instances), this.#patch())
    else if (kind < 78) this.#pair.call('instanceRemove', this.#mesh, this.#take(this.#instances))
    else if (kind < 84)
      this.#pair.call(
        'instanceRenew',
        this.#mesh,
        this.#one(this.#instances),
        r.chance(0.1) ? r.of(FORGED) : 1 + r.below(5_000),
      )
    else if (kind < 90) this.#kept(this.#connections, this.#pair.call('connectionOpen', this.#mesh, this.#connection()))
    else if (kind < 95)
      this.#pair.call('connectionUpdate', this.#mesh, this.#one(this.#connections), this.#connectionPatch())
    else this.#pair.call('connectionClose', this.#mesh, this.#take(this.#connections))
  }

  #define(name: string): void {
    this.#kept(this.#services, this.#pair.call('serviceDefine', this.#mesh, name, this.#policy()))
  }

  /** A field of a spec, wrong in one case of `one in`. */
  #field(object: Json, field: string, good: () => unknown, bad: readonly unknown[], oneIn = 40): void {
    const r = this.#random
    if (r.chance(0.5)) return
    object[field] = r.chance(1 / oneIn) ? r.of([...bad, null, {}, [], '']) : good()
  }

  #json(object: Json): string {
    const r = this.#random
    if (r.chance(0.01)) object[r.of(['unknown', '__proto__', 'wieght'])] = 1
    if (r.chance(0.01)) return r.of(['', '{', '[]', 'null', '1', '"x"', `{"a":"${'x'.repeat(300_000)}"}`])
    return JSON.stringify(object)
  }

  #policy(): string {
    const r = this.#random
    if (r.chance(0.2)) return ''
    const policy: Json = {}
    const numbers = [-1, 0.5, 1e12, 'x', true]
    this.#field(policy, 'balancer', () => r.of(BALANCERS), ['magic', 1])
    if (r.chance(0.5)) {
      const balancing: Json = {}
      this.#field(balancing, 'fullScan', () => r.chance(0.5), ['true'])
      this.#field(balancing, 'hashBalanceFactor', () => r.of([0, 100, 125, 1_000]), [...numbers, 50])
      this.#field(balancing, 'slowStartMs', () => r.of([0, 100, 10_000]), numbers)
      this.#field(balancing, 'panicThreshold', () => r.below(100) / 100, [-1, 1.1, 'x'])
      this.#field(balancing, 'zoneFirst', () => r.chance(0.5), ['true'])
      this.#field(balancing, 'overprovisioning', () => 1 + r.below(100) / 50, [0, 11, 'x'])
      this.#field(balancing, 'subset', () => r.of([[], ['eu'], ['gpu', 'v2']]), [[''], Array(9).fill('a'), 'x'])
      this.#field(balancing, 'subsetFallback', () => r.of(['any', 'none']), ['some'])
      policy.balancing = balancing
    }
    this.#field(policy, 'timeoutMs', () => 1 + r.below(10_000), numbers)
    if (r.chance(0.6)) policy.concurrency = r.chance(0.03) ? r.of(numbers) : r.of([0, 1, 1, 2, 3])
    this.#field(policy, 'queueLimit', () => r.below(6), numbers)
    this.#field(policy, 'ordering', () => r.of(['none', 'key']), ['strict', 1])
    if (r.chance(0.5)) {
      const idempotency: Json = {}
      this.#field(idempotency, 'ttlMs', () => r.of([100, 5_000]), numbers)
      this.#field(idempotency, 'maxEntries', () => r.of([1, 2, 10]), numbers)
      this.#field(idempotency, 'maxBytes', () => r.of([1_024, 4_096]), numbers)
      policy.idempotency = idempotency
    }
    this.#field(policy, 'backpressure', () => r.of(['reject', 'delay', 'delay', 'drop-oldest', 'shed-lowest']), [
      'drop',
    ])
    if (r.chance(0.3)) {
      const watermarks: Json = {}
      this.#field(watermarks, 'high', () => 0.5 + r.below(50) / 100, [0, 1.1, 'x'])
      this.#field(watermarks, 'low', () => r.below(50) / 100, [-1, 1.1, 'x'])
      policy.watermarks = watermarks
    }
    if (r.chance(0.4)) {
      const shares: Json = {}
      for (const one of CLASSES) this.#field(shares, one, () => (1 + r.below(1_000)) / 1_000, [0, 1.1, 'x'])
      const qos: Json = { shares }
      this.#field(qos, 'class', () => r.of(CLASSES), ['vip', 1])
      policy.qos = qos
    }
    if (r.chance(0.6)) {
      const hedge: Json = { enabled: r.chance(0.9) }
      this.#field(hedge, 'budget', () => r.below(100) / 100, [-1, 1.1, 'x'])
      this.#field(hedge, 'minSamples', () => 10 + r.below(20), [9, 0.5, 'x'])
      policy.hedge = hedge
    }
    this.#field(policy, 'rejectedMs', () => r.below(500), numbers)
    this.#field(policy, 'ticketLeaseMs', () => r.of([100, 1_000, 60_000]), numbers)
    if (r.chance(0.5)) {
      const breaker: Json = {}
      this.#field(breaker, 'enabled', () => r.chance(0.9), ['true'])
      this.#field(breaker, 'consecutiveFailures', () => r.below(6), numbers)
      this.#field(breaker, 'errorRate', () => r.below(100) / 100 + 0.01, numbers)
      this.#field(breaker, 'minRequests', () => 1 + r.below(20), numbers)
      this.#field(breaker, 'windowMs', () => 1_000 + r.below(9_000), numbers)
      this.#field(breaker, 'openMs', () => 10 + r.below(1_000), numbers)
      this.#field(breaker, 'maxOpenMs', () => 1_100 + r.below(30_000), numbers)
      this.#field(breaker, 'probes', () => 1 + r.below(4), numbers)
      this.#field(breaker, 'concurrentProbes', () => 1 + r.below(3), numbers)
      this.#field(breaker, 'probeLeaseMs', () => 100 + r.below(10_000), numbers)
      policy.breaker = breaker
    }
    if (r.chance(0.5)) {
      const retry: Json = {}
      this.#field(retry, 'limit', () => r.below(5), numbers)
      this.#field(retry, 'budget', () => r.below(100) / 100, numbers)
      this.#field(retry, 'minPerSecond', () => r.below(10), numbers)
      this.#field(retry, 'minBackoffMs', () => 1 + r.below(10), numbers)
      this.#field(retry, 'maxBackoffMs', () => 20 + r.below(500), numbers)
      policy.retry = retry
    }
    return this.#json(policy)
  }

  #address(): string {
    return `http://10.0.0.${this.#random.below(40)}:80`
  }

  #common(spec: Json): void {
    const r = this.#random
    const words = [1, 'a b', 'é', 'x'.repeat(3_000), '__proto__', '\ud800']
    this.#field(spec, 'weight', () => 1 + r.below(r.of([3, 1_000])), [0, -1, 1_001, 0.5, '1'])
    this.#field(spec, 'zone', () => r.of(ZONES), words)
    this.#field(spec, 'tags', () => r.some(4, () => r.of(TAGS)), [['a b'], [''], [1], 'eu', Array(33).fill('t')])
    this.#field(spec, 'version', () => r.of(['1.0.0', '2.3.4-rc.1+build', '10.20.30']), [
      '1',
      '1.2',
      'v1.0.0',
      '01.0.0',
      '1.0.0-',
      7,
    ])
    this.#field(spec, 'metadata', () => ({ rack: 'r1', team: r.of(['a', 'ü', '']) }), [
      { __x: '1' },
      { a: 1 },
      { a: 'x'.repeat(1_025) },
      { a: 'a\0' },
      'a',
      { 'a b': '' },
    ])
    this.#field(spec, 'priority', () => r.below(3), [-1, 0.5, 16, '1'])
    this.#field(spec, 'concurrency', () => r.below(5), [-1, 0.5, 1e12, '1'])
    this.#field(spec, 'leaseMs', () => 1 + r.below(60_000), [0, -1, 1e12, '1'])
  }

  #spec(): string {
    const spec: Json = {}
    if (this.#random.chance(0.85))
      this.#field(spec, 'address', () => this.#address(), [1, 'a b', 'é', 'x'.repeat(2_049)])
    this.#common(spec)
    return this.#json(spec)
  }

  #patch(): string {
    const r = this.#random
    const patch: Json = {}
    if (r.chance(0.2)) this.#field(patch, 'address', () => this.#address(), [1, 'a b'])
    if (r.chance(0.6)) this.#common(patch)
    this.#field(patch, 'health', () => r.of(['healthy', 'healthy', 'degraded', 'draining', 'draining', 'dead']), [
      'ill',
      1,
    ])
    return this.#json(patch)
  }

  #connection(): string {
    const r = this.#random
    const spec: Json = { protocol: 'http', remote: this.#address() }
    this.#field(spec, 'protocol', () => r.of(['http', 'quic', 'worker']), [1, 'p'.repeat(33)])
    this.#field(spec, 'remote', () => this.#address(), [1, 'a b'])
    this.#field(spec, 'service', () => r.of(NAMES), BAD_NAMES)
    this.#field(spec, 'metadata', () => ({ a: 'b' }), [{ a: 1 }])
    if (r.chance(0.02)) delete spec[r.of(['protocol', 'remote'])]
    return this.#json(spec)
  }

  #connectionPatch(): string {
    const r = this.#random
    const patch: Json = {}
    this.#field(patch, 'state', () => r.of(['connecting', 'open', 'closing', 'closed']), ['shut'])
    for (const counter of ['requests', 'bytesIn', 'bytesOut'])
      this.#field(patch, counter, () => r.below(1e9), [-1, 0.5, 2 ** 53])
    return this.#json(patch)
  }

  // --- discovery, looks, metrics ------------------------------------------------------------------------------

  #discover(): void {
    const r = this.#random
    const query: Json = {}
    const bad = [1, 'a b', 'x'.repeat(257)]
    if (r.chance(0.3)) this.#field(query, 'name', () => r.of(NAMES), bad)
    if (r.chance(0.4)) this.#field(query, 'prefix', () => r.of(['o', 'orders', 'orders.', 'pay', 'zzz']), bad)
    if (r.chance(0.5))
      this.#field(query, 'fuzzy', () => r.of(['ordrs', 'pyament', 'serach', 'inv', 'cratlog', 'o', 'ORDERS']), bad)
    if (r.chance(0.4)) {
      const tags: Json = {}
      for (const group of ['all', 'any', 'none'])
        this.#field(tags, group, () => r.some(2, () => r.of(TAGS)), [['a b'], 'eu', [1]])
      query.tags = tags
    }
    this.#field(query, 'limit', () => 1 + r.below(20), [0, 1_001, -1, 0.5])
    this.#field(query, 'deadlineMs', () => r.below(60_000), [-1, 60_001, 'x'])
    this.#field(query, 'zone', () => r.of(ZONES), [1, 'a b'])
    this.#pair.call('discover', this.#mesh, this.#json(query))
  }

  #look(): void {
    const r = this.#random
    switch (r.below(6)) {
      case 0:
        this.#pair.call('serviceInfo', this.#mesh, this.#one(this.#services))
        break
      case 1:
        this.#pair.call('serviceList', this.#mesh)
        break
      case 2:
        this.#pair.call('instanceInfo', this.#mesh, this.#one(this.#instances))
        break
      case 3:
        this.#pair.call('connectionList', this.#mesh)
        break
      case 4: {
        const from = r.chance(0.1) ? r.of([0, Number.NaN, -1, 1e18, 0.5]) : this.#sequence
        const text = this.#pair.call('eventsSince', this.#mesh, from)
        if (text !== '') this.#sequence = (JSON.parse(text) as { last: number }).last
        break
      }
      default:
        this.compareViews()
    }
  }

  /** What a scrape says, in each format. */
  async compareMetrics(): Promise<void> {
    for (const format of ['prometheus', 'openmetrics', 'json', 'csv', 'erlang', 'points'] as const) {
      const [native, fallback] = await Promise.all([
        rendered(this.#pair.native, this.#mesh, format),
        rendered(this.#pair.fallback, this.#mesh, format),
      ])
      const read = (text: string): unknown => {
        if (format === 'json') return JSON.parse(text)
        const lines = text.split('\n')
        // Numbers may be written differently there: 3 and 3.0.
        return format === 'points' ? lines.map((line) => (line === '' ? '' : JSON.parse(line))) : lines
      }
      this.#pair.same(`metrics as ${format}`, read(native), read(fallback))
    }
  }

  /** Every word of every instance that both sides show, but for the writer's sequence and what is a backend's own. */
  compareViews(): void {
    const [native, fallback] = [this.#pair.native.views(this.#mesh), this.#pair.fallback.views(this.#mesh)]
    this.#pair.same('header', [...native.header.subarray(0, 4)], [...fallback.header.subarray(0, 4)])
    const slots = new Set(this.#instances.map((handle) => handle & 0x1ffff))
    for (const slot of slots) {
      const read = (words: Uint32Array) => {
        const line = words.slice(slot * INSTANCE_WORDS, (slot + 1) * INSTANCE_WORDS)
        line[InstanceWord.State] = (line[InstanceWord.State] as number) & STATE_SHOWN
        return NAMED_WORDS.map((word) => line[word] as number)
      }
      const [left, right] = [read(native.instances), read(fallback.instances)]
      // Words of a slot that nobody lives in mean nothing.
      if (left[InstanceWord.Handle - 1] === 0 && right[InstanceWord.Handle - 1] === 0) continue
      this.#pair.same(`view of slot ${slot}`, left, right)
    }
  }

  #metric(): void {
    const r = this.#random
    if (r.chance(0.3)) {
      const name = r.chance(0.1) ? r.of(['', '9a', 'a b', 'é', 'a'.repeat(300)]) : `fuzz_${r.of(['a', 'b', 'c'])}`
      const labels = r.chance(0.1)
        ? r.of(['', '[]', '{"9":"a"}', '{"a":1}', '{"le":"1"}'])
        : r.of(['{}', '{"zone":"a"}', '{"zone":"b\\n\\"c\\\\"}'])
      const kind = r.chance(0.05) ? r.of([3, -1, Number.NaN]) : r.below(3)
      this.#kept(
        this.#metrics,
        this.#pair.call('metricOpen', this.#mesh, kind as 0 | 1 | 2, name, labels, r.of(['', 'Help with\nlines'])),
      )
      return
    }
    const value = r.chance(0.05) ? r.of([Number.NaN, Number.POSITIVE_INFINITY, -5, 1e300]) : r.below(1e6) / 100
    this.#pair.call('metricRecord', this.#mesh, this.#one(this.#metrics), value)
  }
}
