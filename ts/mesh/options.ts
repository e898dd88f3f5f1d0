/** Options of `Mesh.open` and `Mesh.attach`, checked. */

import { hostname } from 'node:os'
import type { JournalOptions } from '../binding/contract-journal.js'
import type { LatencyMode, NodeOptions, NodeTarget, RelayQuota } from '../binding/contract-node.js'
import {
  checkFields,
  checkInteger,
  checkName,
  checkNumber,
  checkRecord,
  checkTimeout,
  invalid,
  shown,
} from './checks.js'
import type { Codec, CodecOption } from './codec.js'
import { type Logger, SILENT } from './logger.js'

interface ThreadOptions {
  /** Name of the mesh in this process; default `default`. */
  name?: string
  /** Anything with pino's methods; silent by default. */
  logger?: Logger
  /** For bodies that are neither bytes nor strings; default `json`. Every thread of a mesh needs the same. */
  codec?: CodecOption
  /** How long to poll for more after the last message from another thread, milliseconds; 0 to 1,000, default 0.2. */
  pollWindowMs?: number
  /** Largest encoded body to or from another thread; default 16 MiB, at most 1 GiB. */
  maxBodyBytes?: number
}

export interface OpenOptions extends ThreadOptions {
  /** Seed of every random choice; by default from the operating system. */
  seed?: number
  /** Zone of this process, for ranking. */
  zone?: string
  /** The clock stands still until `mesh.advance()`. For tests and simulation. */
  manualClock?: boolean
  /** Makes this process a node that others reach: `quic://127.0.0.1:0`, `quic://0.0.0.0:7443`; port 0 for any. */
  listen?: string | readonly string[]
  /** Nodes to reach and keep. The first time with the token of their `mesh.invite()`. */
  join?: JoinTarget | readonly JoinTarget[]
  /** Folder of what outlives the process, the node's keys among it; default `.linkmesh`. */
  data?: string
  /**
   * Whether requests that fail in the end are kept as dead letters, and how. Default: with `data`, yes, on disk. `true`
   * without `data` keeps them in memory.
   */
  deadLetters?: boolean | DeadLetterOptions
  /** Name of the network that a first node founds; default `linkmesh`. */
  network?: string
  /** Name of this node, for people; default its host and process. */
  nodeName?: string
  /** How the engine waits for packets; default `adaptive`: it spins for a moment after traffic, then sleeps. */
  latencyMode?: LatencyMode
  /** Share memory with nodes of this host, for requests as for regions, where the system can; default true. False: QUIC. */
  sameHost?: boolean
  /**
   * Largest UDP payload that the engine's path discovery tries, 1,200 to 65,000 bytes; default 1,452, what Ethernet carries.
   * With jumbo frames (8,952 for an MTU of 9,000) long transfers are faster. Both nodes need it.
   */
  mtu?: number
  /**
   * Threads that encrypt, send and receive packets, 1 to 16; default 1. More are for a node with several busy peers and cores to
   * spare: each peer's packets are one thread's. Needs Linux and `listen`; the node uses no relays then and is none.
   */
  engineThreads?: number
  /**
   * Forward packets between other members that do not reach each other, without being able to read them; default false. `true`
   * forwards for each member 64 sessions, 20,000 packets and 16 MiB a second at most; an object says how much.
   */
  relay?: boolean | Partial<RelayQuota>
}

export interface JoinTarget {
  /** `quic://10.0.0.7:7443`: what the other side's `mesh.listening` says. */
  address: string
  /** One-time token of `mesh.invite()`; not needed once this data folder has an identity. */
  token?: string
}

/** What makes a process a node. */
export interface CheckedNode {
  options: Omit<NodeOptions, 'nowMs'>
  join: NodeTarget[]
}

/** What the mesh keeps of messages that it gives up. */
export type DeadLetterOptions = Pick<
  JournalOptions,
  'parkAfter' | 'segmentBytes' | 'maxRecordBytes' | 'maxQueuedRecords' | 'retention' | 'repair'
>

export interface AttachOptions extends ThreadOptions {
  /** How long to wait for the mesh to be opened, milliseconds; default 10,000. */
  timeoutMs?: number
}

export interface CheckedOptions {
  name: string
  logger: Logger
  codec: CodecOption
  pollWindowMs: number
  maxBodyBytes: number
}

const THREAD_FIELDS = ['name', 'logger', 'codec', 'pollWindowMs', 'maxBodyBytes']
const OPEN_FIELDS = new Set([
  ...THREAD_FIELDS,
  'seed',
  'zone',
  'manualClock',
  'listen',
  'join',
  'data',
  'deadLetters',
  'network',
  'nodeName',
  'latencyMode',
  'sameHost',
  'mtu',
  'engineThreads',
  'relay',
])
const ATTACH_FIELDS = new Set([...THREAD_FIELDS, 'timeoutMs'])
const DEAD_LETTER_FIELDS = new Set([
  'parkAfter',
  'segmentBytes',
  'maxRecordBytes',
  'maxQueuedRecords',
  'retention',
  'repair',
])
const JOIN_FIELDS = new Set(['address', 'token'])
const DEFAULT_DATA = '.linkmesh'
const LONGEST_ADDRESS = 300
const CONNECT_TIMEOUT_MS = 10_000
const MAX_PATH = 4_096
const MAX_NODE_NAME = 63
/** What Ethernet carries. */
export const DEFAULT_MTU = 1_452
const MAX_ENGINE_THREADS = 16
const NODE_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/
/** Of each: what is forwarded for a member by default, the least and the most. */
const RELAY_QUOTA: Record<keyof RelayQuota, readonly [number, number, number]> = {
  sessions: [64, 1, 16_384],
  packetsPerSecond: [20_000, 1, 2 ** 32 - 1],
  bytesPerSecond: [16 << 20, 65_536, 2 ** 32 - 1],
}
const MAX_TOKEN = 65_536
const MAX_ADDRESSES = 16
const MAX_BODY = 2 ** 30
const DEFAULT_BODY = 16 << 20
const DEFAULT_POLL_MS = 0.2
const DEFAULT_ATTACH_MS = 10_000

export interface CheckedOpen extends CheckedOptions {
  seed: number | undefined
  zone: string | undefined
  manualClock: boolean
  data: string | undefined
  /** Undefined: requests that fail are not kept. */
  deadLetters: DeadLetterOptions | undefined
  node: CheckedNode | undefined
}

export function checkOpen(options: OpenOptions): CheckedOpen {
  checkFields(checkRecord(options, 'options'), OPEN_FIELDS, 'options')
  const { seed, zone, manualClock } = options
  if (seed !== undefined) checkInteger(seed, 'options.seed', 0, 2 ** 32 - 1)
  if (zone !== undefined && typeof zone !== 'string')
    throw invalid('options.zone', `options.zone must be a string, not ${shown(zone)}`)
  if (manualClock !== undefined && typeof manualClock !== 'boolean')
    throw invalid('options.manualClock', 'options.manualClock must be true or false')
  const { data } = options
  if (data !== undefined && (typeof data !== 'string' || data.length === 0 || data.length > MAX_PATH))
    throw invalid('options.data', `options.data must be the path of a folder, not ${shown(data)}`, MAX_PATH)
  return {
    ...checkThread(options),
    seed,
    zone,
    manualClock: manualClock ?? false,
    data,
    deadLetters: checkDeadLetters(options),
    node: checkNode(options),
  }
}

function checkDeadLetters({ deadLetters, data }: OpenOptions): DeadLetterOptions | undefined {
  if (deadLetters === false) return undefined
  if (deadLetters === undefined) return data === undefined ? undefined : {}
  if (deadLetters === true) return {}
  checkFields(checkRecord(deadLetters, 'options.deadLetters'), DEAD_LETTER_FIELDS, 'options.deadLetters')
  return deadLetters
}

/** Undefined when the mesh stays within its process. */
function checkNode(options: OpenOptions): CheckedNode | undefined {
  const { listen = [], join = [], data = DEFAULT_DATA, latencyMode = 'adaptive', network = 'linkmesh' } = options
  const { sameHost = true } = options
  const mtu = checkInteger(options.mtu ?? DEFAULT_MTU, 'options.mtu', 1_200, 65_000)
  if (typeof sameHost !== 'boolean') throw invalid('options.sameHost', 'options.sameHost must be true or false')
  const addresses = typeof listen === 'string' ? [listen] : [...checkList(listen, 'options.listen')]
  const targets = checkList(Array.isArray(join) ? join : [join], 'options.join') as readonly JoinTarget[]
  if (latencyMode !== 'spin' && latencyMode !== 'adaptive' && latencyMode !== 'block')
    throw invalid(
      'options.latencyMode',
      `options.latencyMode must be spin, adaptive or block, not ${shown(latencyMode)}`,
    )
  const name = options.nodeName ?? defaultNodeName()
  for (const [field, text] of [
    ['network', network],
    ['nodeName', name],
  ] as const) {
    if (typeof text !== 'string' || !NODE_NAME.test(text))
      throw invalid(
        `options.${field}`,
        `options.${field} must be a letter or digit and then letters, digits, ., _ or -, at most ${MAX_NODE_NAME}, not ${shown(text)}`,
        MAX_NODE_NAME,
      )
  }
  const relay = checkRelay(options.relay)
  const engineThreads = checkInteger(options.engineThreads ?? 1, 'options.engineThreads', 1, MAX_ENGINE_THREADS)
  if (engineThreads > 1 && (addresses.length === 0 || relay !== null))
    throw invalid(
      'options.engineThreads',
      'options.engineThreads must be 1 for a node that is a relay, or that listens nowhere',
      1,
    )
  if (addresses.length === 0 && targets.length === 0) return undefined
  return {
    options: {
      listen: addresses.map((address, index) => checkAddress(address, `options.listen[${index}]`, 0)),
      data,
      network,
      latencyMode,
      sameHost,
      mtu,
      engineThreads,
      relay,
      name,
    },
    join: targets.map((target, index) => checkTarget(target, `options.join[${index}]`)),
  }
}

function checkRelay(relay: OpenOptions['relay']): RelayQuota | null {
  if (relay === undefined || relay === false) return null
  const given = relay === true ? {} : relay
  checkFields(checkRecord(given, 'options.relay'), new Set(Object.keys(RELAY_QUOTA)), 'options.relay')
  const quota = (field: keyof RelayQuota) => {
    const [usual, least, most] = RELAY_QUOTA[field]
    return checkInteger(given[field] ?? usual, `options.relay.${field}`, least, most)
  }
  return {
    sessions: quota('sessions'),
    packetsPerSecond: quota('packetsPerSecond'),
    bytesPerSecond: quota('bytesPerSecond'),
  }
}

/** The machine and the process, in the letters that a certificate takes. */
function defaultNodeName(): string {
  const host = hostname()
    .replace(/[^A-Za-z0-9._-]/g, '-')
    .slice(0, 48)
  return `${/^[A-Za-z0-9]/.test(host) ? '' : 'n'}${host}-${process.pid}`
}

/** A node to reach, with its timeout. Its place, or with `anywhere` its global address. */
export function checkTarget(target: JoinTarget, field: string, anywhere = false): NodeTarget {
  checkFields(checkRecord(target, field), JOIN_FIELDS, field)
  const isGlobal = anywhere && typeof target.address === 'string' && !target.address.includes('//')
  const address = isGlobal
    ? checkGlobalAddress(target.address, `${field}.address`)
    : checkAddress(target.address, `${field}.address`, 1)
  const { token } = target
  if (token === undefined) return { address, timeoutMs: CONNECT_TIMEOUT_MS }
  if (typeof token !== 'string' || token.length === 0 || token.length > MAX_TOKEN)
    throw invalid(`${field}.token`, `${field}.token must be the text that mesh.invite() gave`, MAX_TOKEN)
  return { address, token, timeoutMs: CONNECT_TIMEOUT_MS }
}

/** `quic://host:port`, the port at least `leastPort`. */
export function checkAddress(value: unknown, field: string, leastPort: number): string {
  if (typeof value !== 'string')
    throw invalid(field, `${field} must be an address such as quic://127.0.0.1:7443, not ${shown(value)}`)
  // Only the form; names are resolved, and addresses bound, by the engine.
  const found = /^quic:\/\/(\[[0-9a-fA-F:.%]+\]|[^\s:/@[\]]+):(\d{1,5})$/.exec(value)
  if (found === null)
    throw invalid(field, `${field} must be quic://host:port, an IPv6 host in brackets, not ${shown(value)}`)
  checkInteger(Number(found[2]), `${field} (port)`, leastPort, 65_535)
  return value
}

/** Only its length: what a global address is, the engine knows. */
export function checkGlobalAddress(address: unknown, field: string): string {
  if (typeof address !== 'string') throw invalid(field, `${field} must be a string, not ${shown(address)}`)
  if (address.length > LONGEST_ADDRESS)
    throw invalid(field, `${field} has ${address.length} characters, at most ${LONGEST_ADDRESS}`, LONGEST_ADDRESS)
  return address
}

function checkList(value: unknown, field: string): readonly unknown[] {
  if (!Array.isArray(value)) throw invalid(field, `${field} must be an array, not ${shown(value)}`)
  if (value.length > MAX_ADDRESSES)
    throw invalid(field, `${field} has ${value.length} entries; ${MAX_ADDRESSES} are allowed`, MAX_ADDRESSES)
  return value
}

export function checkAttach(options: AttachOptions): CheckedOptions & { timeoutMs: number } {
  checkFields(checkRecord(options, 'options'), ATTACH_FIELDS, 'options')
  const timeoutMs =
    options.timeoutMs === undefined ? DEFAULT_ATTACH_MS : checkTimeout(options.timeoutMs, 'options.timeoutMs')
  return { ...checkThread(options), timeoutMs }
}

function checkThread(options: ThreadOptions): CheckedOptions {
  const {
    name = 'default',
    logger = SILENT,
    codec = 'json',
    pollWindowMs = DEFAULT_POLL_MS,
    maxBodyBytes = DEFAULT_BODY,
  } = options
  checkName(name, 'options.name')
  for (const method of ['debug', 'info', 'warn', 'error'] as const) {
    if (typeof logger?.[method] !== 'function')
      throw invalid('options.logger', `options.logger needs a method ${method}, as pino has`)
  }
  checkCodec(codec)
  checkNumber(pollWindowMs, 'options.pollWindowMs', 0, 1_000)
  checkInteger(maxBodyBytes, 'options.maxBodyBytes', 1, MAX_BODY)
  return { name, logger, codec, pollWindowMs, maxBodyBytes }
}

function checkCodec(codec: CodecOption): void {
  if (codec === 'json' || codec === 'v8') return
  const own = codec as Partial<Codec> | null
  if (typeof own !== 'object' || own === null || typeof own.encode !== 'function' || typeof own.decode !== 'function') {
    throw invalid('options.codec', `options.codec must be json, v8 or { name, encode, decode }, not ${shown(codec)}`)
  }
  if (typeof own.name !== 'string' || own.name.length < 1 || own.name.length > 64) {
    throw invalid('options.codec.name', 'options.codec.name must be a string of 1 to 64 characters', 64)
  }
}
