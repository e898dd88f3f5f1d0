/** Options of `Mesh.open` and `Mesh.attach`, checked. */
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
}

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
const OPEN_FIELDS = new Set([...THREAD_FIELDS, 'seed', 'zone', 'manualClock'])
const ATTACH_FIELDS = new Set([...THREAD_FIELDS, 'timeoutMs'])
const MAX_BODY = 2 ** 30
const DEFAULT_BODY = 16 << 20
const DEFAULT_POLL_MS = 0.2
const DEFAULT_ATTACH_MS = 10_000

export function checkOpen(
  options: OpenOptions,
): CheckedOptions & { seed: number | undefined; zone: string | undefined; manualClock: boolean } {
  checkFields(checkRecord(options, 'options'), OPEN_FIELDS, 'options')
  const { seed, zone, manualClock } = options
  if (seed !== undefined) checkInteger(seed, 'options.seed', 0, 2 ** 32 - 1)
  if (zone !== undefined && typeof zone !== 'string')
    throw invalid('options.zone', `options.zone must be a string, not ${shown(zone)}`)
  if (manualClock !== undefined && typeof manualClock !== 'boolean')
    throw invalid('options.manualClock', 'options.manualClock must be true or false')
  return { ...checkThread(options), seed, zone, manualClock: manualClock ?? false }
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
