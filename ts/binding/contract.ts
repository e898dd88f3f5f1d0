/**
 * The one interface between the TypeScript shell and what does the work.
 *
 * Two implementations: the native addon (`crates/node`, same names in the same order) and `fallback/`
 * in plain TypeScript. `test/conformance` runs the same cases on both.
 *
 * Rules of the boundary:
 * - Hot functions take and return numbers and write into typed arrays. They never throw: a negative
 *   result is a {@link Status}.
 * - Cold functions take and return numbers and strings (JSON). They report failure by a negative
 *   {@link Status} or an empty string, and leave the details in {@link Binding.lastError}.
 * - A handle is an unsigned 31-bit number, slot and generation: `generation << 17 | slot`. 0 is never
 *   valid. A stale or forged handle yields {@link Status.StaleHandle}.
 * - A ticket is a number below 2^53: `generation * 2^20 + slot`. 0 is never valid.
 * - Times are microseconds on the mesh's own monotonic clock unless the name says otherwise.
 * - Parts of it are in files of their own: other nodes (`contract-node.ts`, `contract-memory.ts`,
 *   `contract-replicas.ts`, `contract-identity.ts`), dead letters and audit (`contract-journal.ts`), and what the JSON
 *   strings hold (`contract-policy.ts`, `contract-registry.ts`).
 */
import type { IdentityBinding } from './contract-identity.js'
import type { JournalBinding } from './contract-journal.js'
import type { MemoryBinding } from './contract-memory.js'
import type { NodeBinding } from './contract-node.js'
import type { ReplicaBinding } from './contract-replicas.js'

export type * from './contract-policy.js'
export type * from './contract-registry.js'

/** Why a call did not do what was asked. Numbers are part of the contract; see `crates/node/src/status.rs`. */
export const Status = {
  /** Nothing there: no such key, no pattern matches, ring empty. Not an error. */
  NoMatch: -1,
  StaleHandle: -2,
  InvalidArgument: -3,
  LimitExceeded: -4,
  Closed: -5,
  /** The service has no instance that is alive. */
  NoInstance: -6,
  /** Every live instance is ejected by its circuit breaker. */
  BreakerOpen: -7,
  /** Every eligible instance is at its concurrency limit; `wait` may queue. */
  Saturated: -8,
  QueueFull: -9,
  DeadlineExceeded: -10,
  Draining: -11,
  /** No service of that name. */
  NotFound: -12,
  Duplicate: -13,
  /** A panic was caught at the edge: a bug in linkmesh. */
  Internal: -14,
  NativeRequired: -15,
  /** The ring or lane has no room for this record now. */
  RingFull: -16,
  /** The ticket was completed before, or its lease ran out. */
  StaleTicket: -17,
  /** The grant or the identity does not allow this. */
  Denied: -18,
  /** The region, the grant or the node was revoked. */
  Revoked: -19,
  /** The grant or the certificate has run out. */
  Expired: -20,
  /** The other node is not connected, or the connection ended with the operation in its hands. */
  NodeLost: -21,
  /** The caller gave up. */
  Cancelled: -22,
  /** The address cannot be listened on: taken, not allowed, or no UDP here. */
  AddressUnavailable: -23,
  /** The disk or the quota is full; nothing was written. */
  DiskFull: -24,
  /** The folder or its files may not be written, or were opened for reading only. */
  ReadOnly: -25,
  /** Another process has the folder open. */
  Locked: -26,
  /** What is on the disk is not what was acknowledged. */
  Corrupt: -27,
  /** The device failed. */
  Io: -28,
  /** The state of the thing does not allow this now. */
  Conflict: -29,
  /** The token bucket of the service, or of the key, is empty. */
  RateLimited: -30,
} as const
export type Status = (typeof Status)[keyof typeof Status]

/** How a picked request ended. The breaker, budget, load estimate and counters learn from it. */
export const Outcome = {
  Ok: 0,
  /** The service answered with a failure. */
  Error: 1,
  /** No answer within the deadline. */
  Timeout: 2,
  /** The caller gave up; says nothing about the instance. */
  Cancelled: 3,
  /** The instance refused for now (429, 503): not eligible for a while, and never "fast and healthy". */
  Rejected: 4,
  /** The message never reached the instance. */
  Unreachable: 5,
  /** The instance went away with the message in its hands. */
  Unknown: 6,
} as const
export type Outcome = (typeof Outcome)[keyof typeof Outcome]

/**
 * Class of service of a request, by number: its place in the order of shedding, the lowest first. 0: that of the
 * service. The words are {@link QosClass}.
 */
export const Qos = {
  Default: 0,
  BestEffort: 1,
  HighThroughput: 2,
  LowLatency: 3,
  HighReliability: 4,
  Critical: 5,
} as const
export type Qos = (typeof Qos)[keyof typeof Qos]

export const Health = { Healthy: 0, Degraded: 1, Draining: 2, Dead: 3 } as const
export type Health = (typeof Health)[keyof typeof Health]

export const Breaker = { Closed: 0, Open: 1, HalfOpen: 2 } as const
export type Breaker = (typeof Breaker)[keyof typeof Breaker]

export type Handle = number
export type Ticket = number

/** What went wrong in the last call of this thread that returned a negative status, as data. */
export interface ErrorData {
  status: Status
  message: string
  /** Path of the wrong field, `policy.breaker.openMs`. */
  field?: string
  /** The bound that was crossed, in the unit of the field. */
  limit?: number
  /** For `Internal`: file and line of the panic. */
  place?: string
  /** For what concerns other nodes: whether it was applied there. Absent: it was not. */
  outcome?: 'delivered' | 'not-delivered' | 'unknown'
  retryable?: boolean
}

export interface BindingInfo {
  backend: 'native' | 'fallback'
  version: string
  /** SIMD paths in use: `avx2`, `sse4.2`, `neon`, `scalar`. */
  cpu: string[]
  /** What this backend can do: `shared-tables`, `workers`, `nodes`, `remote-memory`, `host-memory`. */
  capabilities: string[]
}

/** Index of each word in the scratch array after a call. */
export const Scratch = {
  /** `pick`: the instance's handle. */
  Instance: 0,
  /** `pick`: id of the thread the instance lives in; 0 for an instance by address. */
  Thread: 1,
  /** A refused `pick` or `wait`: when it is worth trying again, milliseconds. */
  RetryAfterMs: 2,
  /** `pick`: 1 when this request is a half-open probe. */
  Probe: 3,
  /** `pick`: when it was made by the engine's clock, milliseconds, as float64 number 2; NaN on a manual clock. */
  PickedMsF64: 2,
  /** `ledgerBegin`: one of {@link LedgerEntry}. `orderEnter`: 1 when others come first. */
  Entered: 0,
  /** `orderEnter`: 1 when a message of the key that came before was given up. Of a turn that waits, its grant says it. */
  OrderBroken: 1,
  /** `inboxPoll`: triples of (lane id, head, tail) start here. */
  Lanes: 6,
} as const
/** What a request with an idempotency key has to do. */
export const LedgerEntry = {
  /** It is the first: run it, then `ledgerSettle` or `ledgerForget`. */
  First: 0,
  /** The first is under way: a grant with this id and ticket 0 says that it has ended, then begin again. */
  Joined: 1,
  /** The result is there: `ledgerResult`. */
  Settled: 2,
} as const

/** Words in the scratch array. */
export const SCRATCH_WORDS = 256

/**
 * Layout of one instance in `views().instances`: 16 words of 32 bits. Index = slot * 16 + word. Words that are not
 * named here are the backend's own.
 */
export const InstanceWord = {
  /** Sequence: odd while a writer changes the multi-word fields. */
  Epoch: 0,
  /** The whole handle while the instance lives, else 0. */
  Handle: 1,
  /**
   * `health | breaker << 4 | flags << 8`, flag 1: its event loop is blocked, flag 2: it is late; other flags are the
   * backend's own. One word, so it can never be torn.
   */
  State: 2,
  Weight: 4,
  /** Concurrency limit; 0 = none. */
  Limit: 5,
  /** Peak-EWMA latency, microseconds, as float32 bits. */
  LatencyUs: 6,
  Service: 7,
  Thread: 8,
  /** Requests completed badly since registration, modulo 2^32. */
  Failed: 9,
  /** Requests picked and not completed. Picked since registration: this and all that were completed. */
  InFlight: 10,
  /** Requests completed well since registration, modulo 2^32. */
  Succeeded: 11,
  /** Requests given up by their callers since registration, modulo 2^32. */
  Cancelled: 13,
  /** How late the event loop of its thread is, microseconds; 0 below a millisecond. */
  LagUs: 12,
} as const
export const INSTANCE_WORDS = 16

/** Layout of `views().header`. */
export const HeaderWord = {
  /** Grows with every change of services or instances. */
  RegistryEpoch: 0,
  Services: 1,
  Instances: 2,
} as const

export interface Views {
  header: Uint32Array
  instances: Uint32Array
}

export interface Binding extends NodeBinding, MemoryBinding, ReplicaBinding, JournalBinding, IdentityBinding {
  // --- the binding itself -------------------------------------------------------------------------
  info(): BindingInfo
  /** Details of the last negative status on this thread, JSON of {@link ErrorData}; '' when there was none. */
  lastError(): string
  /** This thread's scratch array: the same memory for its whole life. */
  scratch(): Uint32Array
  /** Raises a panic inside, to prove that it stops at the edge. Always {@link Status.Internal}. */
  selfTestPanic(): Status
  /** 32-bit hash of a routing key; never 0. FNV-1a over the UTF-8 bytes, finished by murmur3's fmix32. Hot. */
  hashKey(key: string): number

  // --- tables: handles belong to the calling thread, a named table is one per process ---------------
  idTableOpen(name: string | null, capacity: number): Handle | Status
  /** String keys equal their UTF-8 bytes. Numbers are safe integers and a domain of their own. Cold-ish: takes the writer's lock. */
  idTableSet(table: Handle, key: string | number | Uint8Array, value: number): Status | 0
  idTableDelete(table: Handle, key: string | number | Uint8Array): 0 | 1 | Status
  /** Value, or -1. Hot. */
  idTableGetString(table: Handle, key: string): number
  idTableGetNumber(table: Handle, key: number): number
  idTableGetBytes(table: Handle, key: Uint8Array): number
  /** Writes one value per key, 0xFFFFFFFF for none; returns how many were found. Hot. */
  idTableGetManyU32(table: Handle, keys: Uint32Array, out: Uint32Array): number
  idTableGetManyU64(table: Handle, keys: BigUint64Array, out: Uint32Array): number
  /** `keys`: all keys joined without a separator; `lengths`: UTF-16 units of each. One string crosses instead of many. */
  idTableGetManyStrings(table: Handle, keys: string, lengths: Uint32Array, out: Uint32Array): number
  idTableSize(table: Handle): number
  /** Memory held, bytes. */
  idTableBytes(table: Handle): number

  radixOpen(name: string | null): Handle | Status
  /** `syntax` 0: a path pattern (`/users/:id`, `/{name=a/*}`, `**`); 1: a literal byte prefix. Replaces the value of an equal pattern. */
  radixInsert(table: Handle, pattern: string, value: number, syntax: 0 | 1): 0 | Status
  radixDelete(table: Handle, pattern: string, syntax: 0 | 1): 0 | 1 | Status
  /**
   * Most specific pattern that matches. `spans`, when long enough, receives: pattern id, number of captures n,
   * then n pairs (start, end) as offsets into `path` in UTF-16 units. Hot.
   */
  radixMatch(table: Handle, path: string, spans: Uint32Array | undefined): number
  /** One value per path, 0xFFFFFFFF for none; returns how many matched. Paths joined as in `idTableGetManyStrings`. Hot. */
  radixMatchMany(table: Handle, paths: string, lengths: Uint32Array, out: Uint32Array): number
  /** Value of the longest inserted literal prefix of `key`, or -1. Hot. */
  radixLongestPrefix(table: Handle, key: string): number
  /** Capture names of a pattern id, JSON array; '' when unknown. */
  radixNames(table: Handle, patternId: number): string
  radixSize(table: Handle): number

  /** Bounded ring of byte records. `kind` 0: one producer, one consumer; 1: many of both. */
  ringOpen(name: string | null, kind: 0 | 1, capacityBytes: number): Handle | Status
  /** 0, or {@link Status.RingFull}. Hot. */
  ringPush(ring: Handle, record: Uint8Array): 0 | Status
  /** Length of the record copied to `out`, or -1 when empty, or {@link Status.LimitExceeded} when `out` is too small (the record stays). Hot. */
  ringPop(ring: Handle, out: Uint8Array): number
  ringLength(ring: Handle): number
  /** Closes any of the three; the memory goes when the last thread has closed it. */
  tableClose(table: Handle): 0 | Status

  // --- the mesh: one per name and process; the handle belongs to the calling thread ------------------
  /** `options`: JSON of {@link MeshOptions}. */
  meshOpen(options: string): Handle | Status
  meshAttach(name: string): Handle | Status
  /** Leaves the mesh. Its instances in this thread die, its open tickets end as cancelled. */
  meshClose(mesh: Handle): 0 | Status
  /** JSON: name, thread id, threads, start time, seed. */
  meshInfo(mesh: Handle): string
  /** Clock of the mesh, microseconds since it was opened. */
  meshNow(mesh: Handle): number
  /** Moves a clock opened with `manualClock`. */
  meshAdvance(mesh: Handle, microseconds: number): 0 | Status
  views(mesh: Handle): Views

  // --- registry -----------------------------------------------------------------------------------
  /** Defines a service or returns the one of that name. `policy`: JSON of {@link Policy}, '' to leave it as it is. */
  serviceDefine(mesh: Handle, name: string, policy: string): Handle | Status
  serviceFind(mesh: Handle, name: string): Handle | Status
  serviceRemove(mesh: Handle, service: Handle): 0 | Status
  /** JSON of {@link ServiceInfo}. */
  serviceInfo(mesh: Handle, service: Handle): string
  /** JSON array of {@link ServiceInfo}, by name. */
  serviceList(mesh: Handle): string
  /** `spec`: JSON of {@link InstanceSpec}. */
  instanceAdd(mesh: Handle, service: Handle, spec: string): Handle | Status
  /** `patch`: JSON of Partial<InstanceSpec> and `health`. */
  instanceUpdate(mesh: Handle, instance: Handle, patch: string): 0 | Status
  instanceRemove(mesh: Handle, instance: Handle): 0 | Status
  /** Extends the lease. */
  instanceRenew(mesh: Handle, instance: Handle, leaseMs: number): 0 | Status
  /**
   * An operator's order about one instance. `eject`: kept out for `forMs`, at most an hour, 0 ends an ejection.
   * `open-breaker`: until it is closed by an order. `reset`: what was learned of it is forgotten. `forMs` is for `eject`.
   */
  instanceControl(mesh: Handle, instance: Handle, order: ControlOrder, forMs: number): 0 | Status
  /** JSON of {@link InstanceInfo}. */
  instanceInfo(mesh: Handle, instance: Handle): string
  /** `spec`: JSON of {@link ConnectionSpec}. */
  connectionOpen(mesh: Handle, spec: string): Handle | Status
  connectionUpdate(mesh: Handle, connection: Handle, patch: string): 0 | Status
  connectionClose(mesh: Handle, connection: Handle): 0 | Status
  /** JSON array of {@link ConnectionInfo}. */
  connectionList(mesh: Handle): string
  /** `query`: JSON of {@link DiscoveryQuery}; returns JSON of {@link DiscoveryResult}. */
  discover(mesh: Handle, query: string): string
  /** JSON of {@link EventBatch}: registry and breaker changes after `sequence`. */
  eventsSince(mesh: Handle, sequence: number): string

  // --- router -------------------------------------------------------------------------------------
  /**
   * `keyHash` 0: no affinity. Else the key stays on one instance while that is eligible; with `adaptive`, no bound and no
   * ordering, while it is not worse off than twice the usual either. `qos` left out: the class of the service. Fills the scratch words Instance, Thread,
   * RetryAfterMs, Probe, PickedMs. Hot.
   */
  pick(mesh: Handle, service: Handle, keyHash: number, qos?: Qos): Ticket | Status
  /**
   * How long to wait for an answer before the request is sent to a second instance, microseconds: the 95th percentile of
   * the service's latest latencies. {@link Status.NoMatch}: policy or class do not hedge, or too few latencies are known. Hot.
   */
  hedgeAfter(mesh: Handle, service: Handle, qos: Qos): number
  /**
   * A second instance for a request that `instance` has not answered; fills the scratch as `pick` does. Its ticket is one
   * like any other. {@link Status.NoMatch}: the budget or the instances do not allow it. Whoever loses is completed as
   * Cancelled, with the time it took so far.
   */
  hedge(mesh: Handle, service: Handle, instance: Handle, qos: Qos): Ticket | Status
  /**
   * `latencyUs` negative: time since the pick. With {@link Outcome.Cancelled} it is how long the instance took at least,
   * if it is given. Hot.
   */
  complete(mesh: Handle, ticket: Ticket, outcome: Outcome, latencyUs: number): 0 | Status
  /**
   * As `complete` with {@link Outcome.Rejected}, when the instance said for how long: it is not picked before
   * `retryAfterMs`, at most five minutes and at least the policy's `rejectedMs`.
   */
  completeRejected(mesh: Handle, ticket: Ticket, latencyUs: number, retryAfterMs: number): 0 | Status
  /** The first `count` tickets at once, with one outcome and the time since their picks. How many were open. Hot. */
  completeMany(mesh: Handle, tickets: Float64Array, count: number, outcome: Outcome): number | Status
  /** After `pick` said Saturated: queue for the next free slot. Id of the wait; the grant arrives by `grants`. `timeoutMs` bounds it. */
  wait(mesh: Handle, service: Handle, keyHash: number, timeoutMs: number, qos: Qos): number | Status
  /** 0, or StaleTicket when the grant or the refusal is already under way. */
  waitCancel(mesh: Handle, waitId: number): 0 | Status
  /**
   * Grants of this thread into `out` as quadruples (wait id, ticket, instance, thread), of a refused one (wait id, status,
   * retryAfterMs, 0); how many. Call after a wake. Ticket 0: no wait for a place; a turn has come (`instance` 1: its order
   * is broken), or a first request has ended.
   */
  grants(mesh: Handle, out: Float64Array): number
  /** Takes one token of the service's retry budget: backoff with jitter in ms before attempt `attempt` (1 = first retry), or -1 when not allowed. */
  retry(mesh: Handle, service: Handle, attempt: number): number
  /**
   * Enters the turn of `key` among the requests to a service: its id. Fills the scratch words Entered and OrderBroken. When
   * others come first the grant says that the turn has come. QueueFull and LimitExceeded have their limits.
   */
  orderEnter(mesh: Handle, service: Handle, key: string): number | Status
  /** Leaves a turn, or the queue for it; `broken` 1: its message was given up, so the next of the key is told. */
  orderLeave(mesh: Handle, service: Handle, key: string, id: number, broken: 0 | 1): 0 | Status
  /** Asks what a request with an idempotency key has to do: an id, and the scratch word Entered. */
  ledgerBegin(mesh: Handle, service: Handle, key: string): number | Status
  /** What the first request with this key was answered, while it is remembered. */
  ledgerResult(mesh: Handle, service: Handle, key: string): Uint8Array | null
  /** The first request has its answer. LimitExceeded when it is larger than the ledger may be: settle with something smaller. */
  ledgerSettle(mesh: Handle, service: Handle, key: string, id: number, result: Uint8Array): 0 | Status
  /** The first request has no answer that should be remembered: the next with its key is a first again. */
  ledgerForget(mesh: Handle, service: Handle, key: string, id: number): 0 | Status
  /** JSON of {@link Explanation}; '' when the ticket is too old. */
  explain(mesh: Handle, ticket: Ticket): string
  /** The latest picks, oldest first: JSON array of {@link RecordedPick}. */
  recordedPicks(mesh: Handle): string

  // --- metrics ------------------------------------------------------------------------------------
  /** `kind` 0 counter, 1 gauge, 2 histogram. `labels`: JSON object. Same name and labels give the same series. */
  metricOpen(mesh: Handle, kind: 0 | 1 | 2, name: string, labels: string, help: string): Handle | Status
  /** Adds to a counter, sets a gauge, records into a histogram. Hot. */
  metricRecord(mesh: Handle, metric: Handle, value: number): 0 | Status
  /** UTF-8, gathered and written off the JavaScript thread. `points`: JSON lines for another exporter, see `crates/metrics/src/points.rs`. */
  metricsRender(mesh: Handle, format: MetricFormat): Promise<Uint8Array>
  /** Says which request a value of a histogram came from: ids as `traceparent` writes them. Nothing is recorded by it. */
  metricExemplar(mesh: Handle, metric: Handle, value: number, traceId: string, spanId: string, atMs: number): 0 | Status
  /** The same of the latency of a service. */
  serviceExemplar(
    mesh: Handle,
    service: Handle,
    latencyUs: number,
    traceId: string,
    spanId: string,
    atMs: number,
  ): 0 | Status

  /**
   * Runs a scenario with the production router at virtual time, off the JavaScript thread. `request`: JSON
   * `{scenario, policies?, seed?, trace?}`; answers with JSON of the report, or `{error: {field, message}}`. Native only.
   */
  simulate(request: string): Promise<string>

  // --- threads: wakes, and (native only) byte lanes and bodies between the threads of one process -------
  /** Outgoing lane to a thread: its id, the same at both ends. */
  laneOpen(mesh: Handle, toThread: number): number | Status
  /** The lane's memory, its size a power of two. Both ends see the same bytes. */
  laneMemory(mesh: Handle, lane: number): ArrayBuffer | null
  /** Publishes everything before `tail` (free-running, modulo 2^32) and wakes the receiver if it sleeps. Returns the receiver's head, or a status. The caller polls its inbox and arms before it sleeps again: a commit disarms its own wake. Hot. */
  laneCommit(mesh: Handle, lane: number, tail: number): number
  /** Gives back everything before `head`. Hot. */
  laneRelease(mesh: Handle, lane: number, head: number): 0 | Status
  /** Number of incoming lanes with unread bytes; (lane, head, tail) triples in the scratch array. Hot. */
  inboxPoll(mesh: Handle): number
  /** Arms the wake: 0 when nothing is there and this thread may sleep, else 1. */
  inboxArm(mesh: Handle): 0 | 1 | Status
  /** `callback` runs on this thread after it was armed and something came: frames, grants, events or a thread's end. Never keeps the process alive. */
  onWake(mesh: Handle, callback: () => void): 0 | Status
  /** Threads of this mesh and how their event loops do, JSON array of {@link ThreadInfo}. */
  threads(mesh: Handle): string
  /** A body too large for a lane: handed over by id, taken exactly once. */
  blobPut(mesh: Handle, bytes: Uint8Array): number | Status
  blobTake(mesh: Handle, id: number): Uint8Array | null
}

// --- what the JSON strings hold ------------------------------------------------------------------------

export type ControlOrder = 'eject' | 'open-breaker' | 'close-breaker' | 'reset'
export type MetricFormat = 'prometheus' | 'openmetrics' | 'json' | 'csv' | 'erlang' | 'points'

export interface MeshOptions {
  name: string
  /** Seed of every random choice; by default from the operating system. */
  seed?: number
  /** The clock stands still until `meshAdvance`. For tests and simulation. */
  manualClock?: boolean
  /** Zone of this process, for ranking and preference. */
  zone?: string
}
