/** One engine per mesh: the router, its clock, who joined, and who is woken when something happens. */
import { Status, type ThreadInfo } from '../contract.js'
import { Failure, invalid } from './edge.js'
import { FallbackMetrics, type Metric } from './metrics.js'
import { Rng } from './random.js'
import { type Completed, FallbackRouter, noPick, type Picked } from './routing.js'
import { Slots } from './slots.js'

/** Joins over the whole life of a mesh. */
const MAX_THREADS = 4_096
const MAX_NAME_BYTES = 256
/** Largest step of a manual clock, microseconds. */
const MAX_STEP_US = 1e15
/** Bounds of the housekeeper's sleep, milliseconds: how late a ticket lease is noticed, and how often it looks at most. */
const LONGEST_NAP_MS = 1_000
const SHORTEST_NAP_MS = 1

interface Options {
  name: string
  seed: number
  manualClock: boolean
  zone: string
}

/** Options of the contract's `MeshOptions`, checked in the addon's order. */
function readOptions(json: string): Options {
  let options: unknown
  try {
    options = JSON.parse(json)
  } catch {
    throw invalid('options', 'the options are JSON')
  }
  if (typeof options !== 'object' || options === null || Array.isArray(options))
    throw invalid('options', 'the options are an object')
  const { name, seed, manualClock = false, zone = '', ...unknown } = options as Record<string, unknown>
  const [stranger] = Object.keys(unknown)
  if (stranger !== undefined) throw invalid('options', `unknown field ${stranger}`)
  if (typeof name !== 'string' || typeof zone !== 'string') throw invalid('options', 'name and zone are strings')
  if (typeof manualClock !== 'boolean') throw invalid('options', 'manualClock is true or false')
  if (seed !== undefined && seed !== null && typeof seed !== 'number') throw invalid('options', 'the seed is a number')
  const drawn = typeof seed === 'number' ? seed : Math.floor(Math.random() * 2 ** 32)
  if (!Number.isInteger(drawn) || drawn < 0 || drawn > 0xffffffff) {
    throw invalid('options.seed', 'the seed is a whole number from 0 to 4294967295', 0xffffffff)
  }
  for (const [field, text, least] of [
    ['options.name', name, 1],
    ['options.zone', zone, 0],
  ] as const) {
    const bytes = Buffer.byteLength(text)
    if (bytes < least || bytes > MAX_NAME_BYTES) {
      throw invalid(field, `${field} has ${least} to ${MAX_NAME_BYTES} bytes`, MAX_NAME_BYTES)
    }
  }
  return { name, seed: drawn, manualClock, zone }
}

/** One joining of the mesh; each has an id of its own, as each thread has under the addon. */
export class Peer {
  readonly id: number
  alive = true
  /** Something came that a look at the grants and events will find. */
  #notice = false
  #armed = false
  #wake: (() => void) | undefined

  constructor(id: number) {
    this.id = id
  }

  onWake(wake: () => void): void {
    this.#wake = wake
  }

  /** True when nothing came since the last look; then the next signal wakes. */
  arm(): boolean {
    this.#armed = !this.#notice
    this.#notice = false
    return this.#armed
  }

  /** Tells the peer, once per arming. The wake is a turn of its own, as one from another thread is. */
  signal(): void {
    this.#notice = true
    if (!this.#armed) return
    this.#armed = false
    const wake = this.#wake
    if (wake !== undefined) setImmediate(wake)
  }
}

/** A peer's hold of the engine. */
export interface Joined {
  readonly engine: Engine
  readonly peer: Peer
  readonly rng: Rng
  readonly opener: boolean
  /** What the last pick of this peer said. */
  readonly picked: Picked
  /** Series opened by this peer. */
  readonly series: Slots<Metric>
}

export class Engine {
  readonly name: string
  readonly seed: number
  readonly router: FallbackRouter
  readonly metrics = new FallbackMetrics()
  closed = false
  /** Filled by each completion. */
  readonly done: Completed = { grantedThread: undefined, more: false }
  readonly #peers: Peer[] = []
  /** Microseconds of a manual clock; otherwise the start of the real one. */
  #manualUs: number | undefined
  readonly #start = process.hrtime.bigint()
  #nap: NodeJS.Timeout | undefined

  constructor(options: Options) {
    this.name = options.name
    this.seed = options.seed
    this.router = new FallbackRouter({ name: options.name, zone: options.zone, seed: options.seed })
    this.#manualUs = options.manualClock ? 0 : undefined
    this.deadlineMoved()
  }

  /** Opens a mesh in `engines`, the list of this thread's. */
  static open(engines: Map<string, Engine>, json: string): Engine {
    const options = readOptions(json)
    if (engines.has(options.name)) {
      const words = `a mesh named '${options.name}' is open in this process: attach to it, or close it first`
      throw new Failure(Status.Duplicate, words, 'options.name')
    }
    const engine = new Engine(options)
    engines.set(options.name, engine)
    return engine
  }

  /** Microseconds since the mesh was opened. */
  now(): number {
    return this.#manualUs ?? Number((process.hrtime.bigint() - this.#start) / 1_000n)
  }

  /** Whether time moves only when somebody moves it. */
  get manual(): boolean {
    return this.#manualUs !== undefined
  }

  /** Moves a manual clock, back too: that is what tests of clocks need. */
  advance(microseconds: number): void {
    if (this.#manualUs === undefined) {
      throw invalid('mesh', 'this mesh runs on the real clock; open it with manualClock')
    }
    if (!(Number.isFinite(microseconds) && Math.abs(microseconds) <= MAX_STEP_US)) {
      throw invalid('microseconds', 'the step is a finite number of microseconds', MAX_STEP_US)
    }
    this.#manualUs = Math.max(0, this.#manualUs + Math.trunc(microseconds))
    this.tick()
  }

  /** Does what is due by now. */
  tick(): void {
    for (const thread of this.router.tick(this.now())) this.signal(thread)
  }

  /** Something with a deadline was added: look again how long to sleep. The nap never keeps the process alive. */
  deadlineMoved(): void {
    clearTimeout(this.#nap)
    if (this.closed || this.#manualUs !== undefined) return
    const due = this.router.nextDeadline()
    const ms = due === undefined ? LONGEST_NAP_MS : (due - this.now()) / 1_000
    const nap = Math.min(LONGEST_NAP_MS, Math.max(SHORTEST_NAP_MS, Math.ceil(ms)))
    this.#nap = setTimeout(() => {
      this.tick()
      this.deadlineMoved()
    }, nap)
    this.#nap.unref()
  }

  join(opener: boolean): Joined {
    if (this.closed) throw new Failure(Status.Closed, 'the mesh was closed')
    if (this.#peers.length >= MAX_THREADS) {
      throw new Failure(Status.LimitExceeded, 'too many threads joined this mesh', 'threads', MAX_THREADS)
    }
    const peer = new Peer(this.#peers.length + 1)
    this.#peers.push(peer)
    return { engine: this, peer, rng: new Rng(this.seed, peer.id), opener, picked: noPick(), series: new Slots() }
  }

  /** The peer's instances die and its tickets end; when the opener leaves, the mesh ends. */
  leave({ peer, opener }: Joined): void {
    peer.alive = false
    this.router.threadEnded(peer.id, this.now())
    this.wakeAll()
    if (!opener) return
    this.closed = true
    clearTimeout(this.#nap)
    this.wakeAll()
  }

  /** Passes on what a completion granted. */
  completed({ grantedThread, more }: Completed): void {
    if (grantedThread !== undefined) this.signal(grantedThread)
    if (more) this.tick()
  }

  /** One thread, which cannot watch itself: its loop is never late while it asks. */
  threads(): ThreadInfo[] {
    return this.#peers.map(({ id, alive }) => ({ id, alive, blocked: false, lagUs: 0, utilisation: 0 }))
  }

  signal(thread: number): void {
    this.#peers[thread - 1]?.signal()
  }

  wakeAll(): void {
    for (const peer of this.#peers) peer.signal()
  }
}
