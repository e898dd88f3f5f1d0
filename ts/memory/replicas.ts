/** Regions that several nodes hold at once, and what is asked of them. */
import type { Rights } from '../binding/contract-memory.js'
import type { ReplicaInfo, ReplicateOptions } from '../binding/contract-replicas.js'
import { errorOf } from '../errors.js'
import {
  checkFields,
  checkInteger,
  checkName,
  checkRecord,
  checkTimeout,
  invalid,
  MAX_TIMEOUT_MS,
  shown,
} from '../mesh/checks.js'
import type { Core } from '../mesh/core.js'
import { checkLength, checkNodeId, checkRights } from './checks.js'
import type { OwnMemory } from './region.js'

/** Members of one region, the node that makes it included. */
const MAX_MEMBERS = 7
/** Most bytes of one replicated region: a member that strayed holds it twice for a while. */
const MAX_BYTES = 64 * 1024 * 1024
const DEFAULT_TIMEOUT_MS = 10_000
const OPTION_FIELDS = new Set(['rights', 'replicas'])
const FIELDS = new Set(['backups', 'acknowledgements', 'timeoutMs'])

export interface ReplicaOptions {
  /** Node ids of the others that hold it, 1 to 6. They must be connected and accept: `acceptReplicas`. */
  backups: readonly string[]
  /**
   * Backups that must have applied a change before it is acknowledged; default 1. With `n` nodes and `k` of these the region
   * goes on without any `min(k, n - k - 1)` of them, the primary included: 3 and 1 survive one, 5 and 2 survive two.
   */
  acknowledgements?: number
  /** How long the backups may take to join, milliseconds; default 10,000. */
  timeoutMs?: number
}

export interface ReplicatedExportOptions {
  /** Most that any grant may give; default `rwa`. */
  rights?: Rights
  replicas: ReplicaOptions
}

/**
 * A region that this node made and that lives on its members: whichever of them leads, it is the same memory, and it is
 * reached by {@link Memory.import} only, from its members, too. It lasts until it is ended, while enough of their processes do.
 */
export class ReplicatedRegion {
  readonly name: string
  readonly length: number
  /** Node ids of those that hold it, this one first: what `import` takes as `members`. */
  readonly members: readonly string[]
  readonly #core: Core
  #ended = false

  /** @internal */
  constructor(core: Core, name: string, length: number, members: readonly string[]) {
    this.#core = core
    this.name = name
    this.length = length
    this.members = members
  }

  /** How this node stands among the members. */
  info(): ReplicaInfo {
    if (this.#ended) throw errorOf('LM_STALE_HANDLE', `the region ${this.name} is ended`)
    const info = replicaInfo(this.#core, this.members[0] as string, this.name)
    if (info === undefined) throw errorOf('LM_CLOSED', `the node that holds ${this.name} is closed`)
    return info
  }

  /**
   * Ends it for good: its members free what they hold, operations and imports fail with `LM_REVOKED`, and its name is free. What
   * was under way and not answered yet may have been applied; its error's `outcome` says so. Members that cannot be
   * reached now end it when they are, by this node or by one that has heard of it. Does nothing the second time.
   *
   * A mesh that closes ends none: a replicated region outlives the node that made it.
   */
  end(): void {
    if (this.#ended) return
    this.#core.must(this.#core.binding.replicaEnd(this.#core.handle, this.name), `the replicated region ${this.name}`)
    this.#ended = true
  }

  get ended(): boolean {
    return this.#ended
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.end()
  }
}

export function replicaInfo(core: Core, creator: string, name: string): ReplicaInfo | undefined {
  const text = core.binding.replicaInfo(core.handle, creator, name)
  return text === '' ? undefined : (JSON.parse(text) as ReplicaInfo)
}

/** What the binding is asked for, and the bytes that the region begins with. */
export function checkReplicated(
  name: string,
  memory: unknown,
  options: ReplicatedExportOptions,
): { asked: ReplicateOptions; bytes: Uint8Array } {
  checkName(name, 'name')
  checkFields(checkRecord(options, 'options'), OPTION_FIELDS, 'options')
  const { rights = 'rwa', replicas } = options
  checkRights(rights, 'options.rights')
  checkFields(checkRecord(replicas, 'options.replicas'), FIELDS, 'options.replicas')
  const { acknowledgements = 1, timeoutMs = DEFAULT_TIMEOUT_MS } = replicas
  const backups = checkMembers(replicas.backups, 'options.replicas.backups', MAX_MEMBERS - 1)
  if (backups.length === 0) throw invalid('options.replicas.backups', 'options.replicas.backups names nobody', 1)
  checkInteger(acknowledgements, 'options.replicas.acknowledgements', 0, backups.length)
  checkTimeout(timeoutMs, 'options.replicas.timeoutMs')
  const bytes = firstBytes(memory)
  return { asked: { name, rights, backups, acknowledgements, timeoutMs: Math.min(timeoutMs, MAX_TIMEOUT_MS) }, bytes }
}

export function checkMembers(members: unknown, field: string, most = MAX_MEMBERS): string[] {
  if (!Array.isArray(members)) throw invalid(field, `${field} must be an array of node ids, not ${shown(members)}`)
  if (members.length > most) throw invalid(field, `${field} names ${members.length} nodes; ${most} are allowed`, most)
  for (const [at, member] of members.entries()) checkNodeId(member, `${field}[${at}]`)
  return [...members]
}

/** Every member has a copy: what JavaScript brings along is what it begins with, and stays JavaScript's own. */
function firstBytes(memory: unknown): Uint8Array {
  if (memory instanceof ArrayBuffer || memory instanceof SharedArrayBuffer) return checkFirst(new Uint8Array(memory))
  if (ArrayBuffer.isView(memory)) return checkFirst(new Uint8Array(memory.buffer, memory.byteOffset, memory.byteLength))
  const { bytes, ...rest } = checkRecord(memory, 'memory') as unknown as OwnMemory
  checkFields(rest, new Set(), 'memory')
  return new Uint8Array(checkLength(bytes, MAX_BYTES, 'memory.bytes'))
}

function checkFirst(bytes: Uint8Array): Uint8Array {
  checkLength(bytes.length, MAX_BYTES, 'memory')
  return bytes
}
