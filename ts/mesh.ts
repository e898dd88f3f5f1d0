/**
 * `Mesh`: what a thread holds of its process's one mesh. This file checks arguments and keeps lifetimes; the parts are in
 * `mesh/`: `dispatcher` (a request's way in its own thread), `lanes` with `outbox` and `inbound` (to and from the other
 * threads), `waits`, `deadlines`, `route`, `contract`. Deliberately absent: any decision about which instance, whether a
 * breaker opens or a retry is allowed. Those are the router's, behind the binding.
 */
import { join, resolve } from 'node:path'
import { isMainThread } from 'node:worker_threads'
import { Administration } from './admin/administration.js'
import type { Explanation, InstanceSpec, Policy, RecordedPick, ServiceInfo, ThreadInfo } from './binding/contract.js'
import { Status, type Ticket } from './binding/contract.js'
import type { PeerInfo, PingInfo, ResolutionInfo } from './binding/contract-node.js'
import { type Backend, type LoadedBinding, loadBinding } from './binding/index.js'
import { AuditLog } from './dead-letters/audit.js'
import { DeadLetters } from './dead-letters/dead-letters.js'
import { letterOf } from './dead-letters/give-up.js'
import { resend } from './dead-letters/resend.js'
import { type DiscoveryQuery, type DiscoveryResult, discover } from './discovery.js'
import { errorOf, errorOfStatus, LinkmeshError, TimeoutError } from './errors.js'
import { Memory } from './memory/memory.js'
import { checkFields, checkName, checkNumber, checkRecord, checkTimeout, invalid, shown } from './mesh/checks.js'
import { nowMs } from './mesh/clock.js'
import type { Context } from './mesh/context.js'
import { type ClientOf, type ContractShape, client, type HandlersOf, serve } from './mesh/contract.js'
import { Core } from './mesh/core.js'
import { Dispatcher } from './mesh/dispatcher.js'
import { Events, type MeshEvents } from './mesh/events.js'
import { Lanes } from './mesh/lanes.js'
import { IDEMPOTENT_KEY } from './mesh/names.js'
import { closeNode, connect, invite, nodeInfo, openNode, peers, pingNode, resolveAddress } from './mesh/node.js'
import {
  type AttachOptions,
  type CheckedOpen,
  type CheckedOptions,
  checkAttach,
  checkOpen,
  type OpenOptions,
} from './mesh/options.js'
import { Registration } from './mesh/registration.js'
import { ReplyStream } from './mesh/reply-stream.js'
import { Route } from './mesh/route.js'
import type { Tracing } from './mesh/trace.js'
import { Metrics } from './metrics.js'
import { type MeshConfig, type MeshReloadOptions, reloadMesh } from './reload/mesh-reload.js'
import type { ReloadReport } from './reload/report.js'
import type { Handler, RequestOptions, ServiceOptions, StreamOptions } from './service.js'

/** Between two looks whether the mesh to attach to is open. */
const ATTACH_LOOK_MS = 5
const FIELDS = ['policy', 'idempotent', 'weight', 'zone', 'tags', 'version', 'metadata', 'concurrency', 'leaseMs']
const SERVICE_FIELDS = new Set(FIELDS)
const REGISTER_FIELDS = new Set([...FIELDS, 'address'])
/** Of a file of the audit trail. */
const AUDIT_SEGMENT_BYTES = 16 << 20
/** Longest interval of the runtime; only there to keep a thread alive. */
const FOR_EVER_MS = 2_147_483_647

export interface RegisterOptions extends InstanceSpec {
  /** `http://10.0.0.7:8080`, `quic://…` */
  address: string
  policy?: Policy
  idempotent?: boolean
}

/**
 * One process has one mesh of a name; each of its threads holds it by a `Mesh` of its own.
 *
 * # Lifetime
 * An outstanding request keeps the process alive, an idle mesh does not. A worker thread that serves stays alive until
 * {@link close} or {@link unref}. When the thread that opened the mesh leaves it, the mesh ends for all.
 *
 * # Common issues
 * - A handler that blocks its thread blocks every request to that thread: start more workers, see `linkmesh/workers`.
 * - Bodies within a thread are handed over as they are; bodies between threads are copies made by the codec.
 */
export class Mesh {
  readonly name: string
  /** Which implementation runs, and why. */
  readonly backend: Readonly<Backend>
  /** Id of this thread in the mesh, 1 or more. */
  readonly threadId: number
  readonly metrics: Metrics
  /** Memory shared with other nodes. */
  readonly memory: Memory
  /** Messages that were given up, and what becomes of them. */
  readonly deadLetters: DeadLetters
  /** Who did what. */
  readonly audit: AuditLog
  /** An operator's orders. */
  readonly admin: Administration

  readonly #core: Core
  readonly #dispatcher: Dispatcher
  readonly #lanes: Lanes
  readonly #events: Events
  readonly #registrations = new Set<Registration>()
  readonly #isOpener: boolean
  #keepalive: NodeJS.Timeout | undefined
  #unreferenced = false
  #noticing = false
  #data: string | undefined
  #closing: Promise<void> | undefined

  private constructor(
    { binding, backend }: LoadedBinding,
    handle: number,
    options: CheckedOptions,
    /** This thread opened the mesh: with it, the node goes. */
    isOpener: boolean,
  ) {
    this.#isOpener = isOpener
    const info = JSON.parse(binding.meshInfo(handle)) as { name: string; thread: number }
    this.name = info.name
    this.backend = backend
    this.threadId = info.thread
    this.#core = new Core(binding, handle, info.name, info.thread, options.logger)
    this.#core.mesh = this
    this.#dispatcher = new Dispatcher(this.#core)
    this.#events = new Events(this.#core)
    this.#lanes = new Lanes(this.#core, this.#dispatcher, { ...options, onNotice: () => this.#noticed() })
    this.#dispatcher.onChange = () => this.#noticeSoon()
    this.metrics = new Metrics(this.#core)
    this.memory = new Memory(this.#core, this.#lanes)
    this.deadLetters = new DeadLetters(this.#core, (letter) => resend(this.#dispatcher, letter))
    this.audit = new AuditLog(this.#core)
    this.admin = new Administration(this.#core)
    this.#lanes.start()
  }

  /** Opens the process's mesh of that name. `LM_DUPLICATE` when it is open already: then {@link attach}. */
  static async open(options: OpenOptions = {}): Promise<Mesh> {
    const checked = checkOpen(options)
    const loaded = loadBinding()
    const { name, seed, zone, manualClock } = checked
    const handle = loaded.binding.meshOpen(JSON.stringify({ name, seed, zone, manualClock }))
    if (handle < 0) throw errorOfStatus(loaded.binding, handle, `mesh ${shown(name)}`)
    const mesh = new Mesh(loaded, handle, checked, true)
    try {
      await mesh.#openJournals(checked)
      if (checked.node !== undefined) await openNode(mesh.#core, checked.node)
    } catch (error) {
      await mesh.close({ graceMs: 0 })
      throw error
    }
    return mesh
  }

  /** Joins the mesh that another thread of this process opened, or is about to open. */
  static async attach(options: AttachOptions = {}): Promise<Mesh> {
    const checked = checkAttach(options)
    const loaded = loadBinding()
    const until = nowMs() + checked.timeoutMs
    for (;;) {
      const handle = loaded.binding.meshAttach(checked.name)
      if (handle >= 0) {
        const mesh = new Mesh(loaded, handle, checked, false)
        await mesh.#joinJournals()
        return mesh
      }
      if (handle !== Status.NotFound) throw errorOfStatus(loaded.binding, handle, `mesh ${shown(checked.name)}`)
      if (nowMs() >= until) {
        throw new TimeoutError(`no thread opened mesh ${shown(checked.name)} within ${checked.timeoutMs} ms`, {
          field: 'options.name',
        })
      }
      await new Promise((resolve) => setTimeout(resolve, ATTACH_LOOK_MS))
    }
  }

  async #openJournals({ data, deadLetters }: CheckedOpen): Promise<void> {
    if (data !== undefined) {
      this.#data = resolve(data)
      await this.audit.openWith({ folder: join(data, 'audit'), segmentBytes: AUDIT_SEGMENT_BYTES })
      await this.deadLetters.openWith({ folder: join(data, 'dead-letters'), ...deadLetters })
    } else if (deadLetters !== undefined) {
      await this.deadLetters.openWith({ ...deadLetters })
    }
    if (deadLetters !== undefined) this.#keepDeadLetters()
  }

  /** What another thread of this mesh keeps is kept by this one, too. */
  async #joinJournals(): Promise<void> {
    try {
      await this.deadLetters.openWith({ join: true })
      this.#keepDeadLetters()
    } catch (error) {
      if (!(error instanceof LinkmeshError) || (error.code !== 'LM_NOT_FOUND' && error.code !== 'LM_CLOSED'))
        throw error
    }
  }

  #keepDeadLetters(): void {
    this.#dispatcher.onGiveUp = (call, error) => {
      const letter = letterOf(call, error)
      if (letter !== undefined) void this.deadLetters.record(letter)
    }
  }

  // --- serving ------------------------------------------------------------------------------------------

  /**
   * Serves `name` in this thread. Several threads may serve one name, and one thread several times: each is an
   * instance that requests are balanced over.
   */
  service<Body = unknown, Reply = unknown>(
    name: string,
    handler: Handler<Body, Reply>,
    options: ServiceOptions = {},
  ): Registration {
    checkName(name, 'service')
    if (typeof handler !== 'function')
      throw invalid('handler', `the handler of ${name} must be a function, not ${shown(handler)}`)
    checkFields(checkRecord(options, 'options'), SERVICE_FIELDS, 'options')
    return this.#add(name, options, handler)
  }

  /** Adds an instance that is reached by its address: `mesh.route(service)` picks it, your client talks to it. */
  register(service: string, options: RegisterOptions): Registration {
    checkName(service, 'service')
    checkFields(checkRecord(options, 'options'), REGISTER_FIELDS, 'options')
    if (typeof options.address !== 'string')
      throw invalid('options.address', `options.address must be a string, not ${shown(options.address)}`)
    return this.#add(service, options, undefined)
  }

  #add(name: string, options: ServiceOptions & { address?: string }, handler: Handler | undefined): Registration {
    this.#mustBeOpen()
    const core = this.#core
    const { policy, idempotent, ...spec } = options
    for (const field of ['weight', 'concurrency', 'leaseMs'] as const) {
      // JSON would write NaN and Infinity as null, and the message would be about null.
      if (spec[field] !== undefined) checkNumber(spec[field], `options.${field}`, 0, Number.MAX_SAFE_INTEGER)
    }
    if (idempotent === true) spec.metadata = { ...spec.metadata, [IDEMPOTENT_KEY]: 'true' }
    const text = policy === undefined ? '' : JSON.stringify(checkRecord(policy, 'options.policy'), refuseNonFinite)
    const service = core.must(core.binding.serviceDefine(core.handle, name, text), `service ${shown(name)}`)
    const handle = core.must(
      core.binding.instanceAdd(core.handle, service, JSON.stringify(spec)),
      `an instance of ${shown(name)}`,
    )
    const local = handler === undefined ? undefined : this.#dispatcher.addLocal(handle, name, handler)
    const registration = new Registration(core, this.#dispatcher, handle, name, local, (closed) => {
      this.#registrations.delete(closed)
      this.#hold()
    })
    this.#registrations.add(registration)
    this.#dispatcher.forget(name)
    this.#hold()
    return registration
  }

  /** Defines a service or changes its policy, without an instance. */
  define(name: string, policy: Policy = {}): void {
    this.#mustBeOpen()
    checkName(name, 'service')
    const core = this.#core
    core.must(
      core.binding.serviceDefine(core.handle, name, JSON.stringify(checkRecord(policy, 'policy'), refuseNonFinite)),
      `service ${shown(name)}`,
    )
    this.#dispatcher.forget(name)
  }

  /**
   * Changes policies and weights of services as `linkmesh up` changes its config: checked, tried in the shadow on the latest
   * picks, applied in one turn, watched by the requests of all threads, and taken back by itself when they fail more often or
   * take longer than the bounds allow. Of requests of other threads, what counts as latency is the time with the instance:
   * that they waited in a queue before is seen of this thread's alone, that they were shed is seen of all. Resolves when that is known; rejects, with nothing changed, when the config is wrong.
   */
  async reload(config: MeshConfig, options: MeshReloadOptions = {}): Promise<ReloadReport> {
    this.#mustBeOpen()
    return reloadMesh(this.#core, config, options)
  }

  /** Registers the handlers of a contract; types are checked at compile time, values by its validators. */
  serve<C extends ContractShape>(shape: C, handlers: HandlersOf<C>, options?: ServiceOptions): Registration[] {
    return serve(this, shape, handlers, options)
  }

  // --- calling ------------------------------------------------------------------------------------------

  /**
   * Asks an instance of `service` and resolves to its reply.
   *
   * Rejects with the handler's error, or with a `LinkmeshError`: see its `code`, `outcome` and `retryAfterMs`. It is
   * tried again by itself only while that is safe (not delivered, or idempotent) and the retry budget allows it.
   */
  request<Reply = unknown>(service: string, body?: unknown, options?: RequestOptions): Promise<Reply> {
    return this.#request(undefined, service, body, options) as Promise<Reply>
  }

  /** The replies of a handler that returns an async iterable. Starts when it is first read; leaving the loop stops it. */
  stream<Item = unknown>(service: string, body?: unknown, options?: StreamOptions): AsyncIterableIterator<Item> {
    return new ReplyStream<Item>(this.#dispatcher.prepare(service, body, options, undefined, true))
  }

  /** @internal `ctx.request` */
  requestWithin<Reply>(
    parent: Context,
    service: string,
    body: unknown,
    options: RequestOptions | undefined,
  ): Promise<Reply> {
    return this.#request(parent, service, body, options) as Promise<Reply>
  }

  /** @internal `ctx.stream` */
  streamWithin<Item>(
    parent: Context,
    service: string,
    body: unknown,
    options: StreamOptions | undefined,
  ): AsyncIterableIterator<Item> {
    return new ReplyStream<Item>(this.#dispatcher.prepare(service, body, options, parent, true))
  }

  #request(
    parent: Context | undefined,
    service: string,
    body: unknown,
    options: RequestOptions | undefined,
  ): Promise<unknown> {
    let reply: Promise<unknown>
    try {
      const call = this.#dispatcher.prepare(service, body, options, parent, false)
      this.#dispatcher.launch(call)
      reply = call.promise
    } catch (error) {
      reply = Promise.reject(error)
    }
    if (this.#core.tap !== undefined) this.#core.tap(service, reply)
    return reply
  }

  /** Functions that call the services of a contract. */
  client<C extends ContractShape>(shape: C): ClientOf<C> {
    return client(this, shape)
  }

  /** Routing for a transport of your own. `LM_NOT_FOUND` when nobody has defined the service. */
  route(service: string): Route {
    this.#mustBeOpen()
    return new Route(this.#core, this.#dispatcher, service)
  }

  /**
   * Starts a span for each request and each handler of this thread from now on, by `linkmesh/otel` or a tracing of your
   * own; undefined stops that. Without it a trace is handed on as it came. Costs nothing while it is not used.
   */
  useTracing(tracing: Tracing | undefined): void {
    this.#core.tracing = tracing
  }

  // --- looking ------------------------------------------------------------------------------------------

  /** Services that match, best first. */
  discover(query: DiscoveryQuery = {}): DiscoveryResult {
    this.#mustBeOpen()
    return discover(this.#core, query)
  }

  /** All services with their instances and figures, by name. */
  services(): ServiceInfo[] {
    this.#mustBeOpen()
    return JSON.parse(this.#core.binding.serviceList(this.#core.handle)) as ServiceInfo[]
  }

  /**
   * The threads of this mesh and how their event loops do. A thread that is blocked is not dead: new requests go elsewhere,
   * and back to it with its first turn. Watched from outside by a native thread; always idle on the fallback.
   */
  threads(): ThreadInfo[] {
    this.#mustBeOpen()
    return JSON.parse(this.#core.binding.threads(this.#core.handle)) as ThreadInfo[]
  }

  /** Why an instance was picked; undefined when the ticket is too old. Tickets: `route.pick()`, `linkmesh:pick`. */
  explain(ticket: Ticket): Explanation | undefined {
    this.#mustBeOpen()
    const text = this.#core.binding.explain(this.#core.handle, ticket)
    return text === '' ? undefined : (JSON.parse(text) as Explanation)
  }

  /** The latest picks of all threads, oldest first: some thousand, by `request` and by routes. */
  recordedPicks(): RecordedPick[] {
    this.#mustBeOpen()
    return JSON.parse(this.#core.binding.recordedPicks(this.#core.handle)) as RecordedPick[]
  }

  /** Listens; returns the function that stops listening. Listeners do not keep the process alive. */
  on<Name extends keyof MeshEvents>(event: Name, listener: (event: MeshEvents[Name]) => void): () => void {
    return this.#events.on(event, listener)
  }

  // --- other nodes --------------------------------------------------------------------------------------

  /** This process among nodes: 64 hexadecimal digits, bound to its key. Throws when the mesh was opened without `listen` and `join`. */
  get nodeId(): string {
    this.#mustBeOpen()
    return nodeInfo(this.#core).nodeId
  }

  /** The first address that this node listens on, `quic://host:port` with the real port; undefined when it only dials. */
  get listening(): string | undefined {
    this.#mustBeOpen()
    return nodeInfo(this.#core).listening[0]
  }

  /** Global address of this node, written like IPv6: derived from its id, so it stays when the node moves. */
  get address(): string {
    this.#mustBeOpen()
    return nodeInfo(this.#core).address
  }

  /**
   * Where a global address is: from what is connected or known, else by asking the peers. What a peer says is believed
   * only with the signature of the node itself. `LM_NOT_FOUND` when nobody knows, `LM_DUPLICATE` when two nodes have it.
   */
  async resolve(address: string, options: { timeoutMs?: number } = {}): Promise<ResolutionInfo> {
    this.#mustBeOpen()
    return resolveAddress(this.#core, address, options)
  }

  /** One round trip to the engine of a node, by `quic://host:port` or global address; connects to it first if need be. */
  async ping(address: string, options: { timeoutMs?: number } = {}): Promise<PingInfo> {
    this.#mustBeOpen()
    return pingNode(this.#core, address, options)
  }

  /** A token with which one more process may join, once, within `ttlMs` (default ten minutes). */
  async invite(options: { ttlMs?: number } = {}): Promise<string> {
    this.#mustBeOpen()
    return invite(this.#core, options)
  }

  /**
   * Reaches one more node and keeps it; resolves when its services are known here. See {@link OpenOptions.join}. `address` may be
   * a global address as well: then the node is looked for, and met over a relay ({@link OpenOptions.relay}) where the two
   * processes do not reach each other.
   */
  async connect(target: { address: string; token?: string }): Promise<PeerInfo> {
    this.#mustBeOpen()
    return connect(this.#core, target)
  }

  /** The nodes that are connected. */
  peers(): PeerInfo[] {
    this.#mustBeOpen()
    return peers(this.#core)
  }

  /** What this backend can do: `shared-tables`, `workers`, `nodes`, `remote-memory`, `host-memory`. */
  capabilities(): string[] {
    return this.#core.binding.info().capabilities
  }

  /** Microseconds on the mesh's clock. */
  now(): number {
    this.#mustBeOpen()
    return this.#core.binding.meshNow(this.#core.handle)
  }

  /** Moves a clock opened with `manualClock`. */
  advance(microseconds: number): void {
    this.#mustBeOpen()
    this.#core.must(this.#core.binding.meshAdvance(this.#core.handle, microseconds), 'advance')
  }

  // --- ends ---------------------------------------------------------------------------------------------

  /** Lets this worker thread end although it serves. */
  unref(): this {
    this.#unreferenced = true
    this.#hold()
    return this
  }

  /** Undoes {@link unref}. */
  ref(): this {
    this.#unreferenced = false
    this.#hold()
    return this
  }

  /** Folder of dead letters and audit trail; undefined in threads that did not open it. */
  get data(): string | undefined {
    return this.#data
  }

  get closed(): boolean {
    return this.#core.closed
  }

  /**
   * Leaves the mesh: takes no new requests, lets those under way finish for up to `graceMs` (default 5,000; 0 for none),
   * then ends the rest with `LM_CLOSED`. Calling it again returns the same promise.
   */
  close(options: { graceMs?: number } = {}): Promise<void> {
    this.#closing ??= this.#close(options)
    return this.#closing
  }

  async #close(options: { graceMs?: number }): Promise<void> {
    if (this.#core.closed) return
    checkRecord(options, 'options')
    const graceMs =
      options.graceMs === undefined ? 5_000 : options.graceMs === 0 ? 0 : checkTimeout(options.graceMs, 'graceMs')
    const core = this.#core
    for (const registration of this.#registrations) {
      // Gone meanwhile, by its lease: then there is nothing to drain.
      core.binding.instanceUpdate(core.handle, registration.handle, '{"health":"draining"}')
    }
    if (graceMs > 0) await this.#quiet(graceMs)
    await this.admin.end()
    await this.deadLetters.end(this.#isOpener)
    await this.audit.end(this.#isOpener)
    if (this.#isOpener) await closeNode(core, graceMs)
    this.#end()
  }

  /** Resolves when no request is under way in this thread, or when the time is up. */
  #quiet(graceMs: number): Promise<void> {
    const dispatcher = this.#dispatcher
    const isQuiet = (): boolean => dispatcher.outstanding === 0 && dispatcher.active === 0
    if (isQuiet()) return Promise.resolve()
    return new Promise((resolve) => {
      const done = (): void => {
        dispatcher.onQuiet = undefined
        clearTimeout(timer)
        // One more turn of microtasks: the last answers are written by them.
        setImmediate(resolve)
      }
      const timer = graceMs === Number.POSITIVE_INFINITY ? undefined : setTimeout(done, graceMs)
      dispatcher.onQuiet = () => {
        if (isQuiet()) done()
      }
    })
  }

  #end(): void {
    const core = this.#core
    if (core.closed) return
    this.#lanes.stop()
    this.memory.end(errorOf('LM_CLOSED', `mesh ${this.name} was closed`, { outcome: 'unknown' }))
    this.#dispatcher.cancelAll(errorOf('LM_CLOSED', `mesh ${this.name} was closed`, { outcome: 'unknown' }))
    for (const registration of this.#registrations) registration.close()
    this.#lanes.flush()
    core.closed = true
    this.#hold()
    core.deadlines.stop()
    core.binding.meshClose(core.handle)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** Keeps a serving worker alive; a main thread decides for itself when to end. */
  #hold(): void {
    const wanted =
      !isMainThread && !this.#unreferenced && !this.#core.closed && [...this.#registrations].some((one) => one.isLocal)
    if (wanted && this.#keepalive === undefined) this.#keepalive = setInterval(() => {}, FOR_EVER_MS)
    else if (!wanted) {
      clearInterval(this.#keepalive)
      this.#keepalive = undefined
    }
  }

  /** What this thread changed itself reaches its listeners without a wake. */
  #noticeSoon(): void {
    if (this.#noticing || !this.#events.heard) return
    this.#noticing = true
    queueMicrotask(() => {
      this.#noticing = false
      if (!this.#core.closed) this.#noticed()
    })
  }

  #noticed(): void {
    const core = this.#core
    // Service 0 does not exist, so this asks only one thing: whether the opener has closed the mesh.
    if (core.pick(0, 0, 0) === Status.Closed) {
      this.#end()
      return
    }
    this.#events.pump((thread) => this.#lanes.threadEnded(thread))
  }

  #mustBeOpen(): void {
    if (this.#core.closed) throw errorOf('LM_CLOSED', `mesh ${this.name} is closed`)
  }
}

function refuseNonFinite(key: string, value: unknown): unknown {
  if (typeof value === 'number' && !Number.isFinite(value))
    throw invalid(`policy.${key}`, `policy.${key} must be a finite number, not ${value}`)
  return value
}
