/** `mesh.memory`: regions of this process, grants, and the regions of others. */
import {
  BULK_BYTES,
  type GrantInfo,
  type GrantOptions,
  INLINE_BYTES,
  type RemoteInfo,
  type Rights,
} from '../binding/contract-memory.js'
import type { NodeInfo } from '../binding/contract-node.js'
import type { ReplicaInfo } from '../binding/contract-replicas.js'
import { CancelledError, errorOf, errorOfRejection, type LinkmeshError, NATIVE_HINT } from '../errors.js'
import {
  checkFields,
  checkInteger,
  checkName,
  checkRecord,
  checkSignal,
  checkTimeout,
  invalid,
  shown,
} from '../mesh/checks.js'
import type { Core } from '../mesh/core.js'
import type { Lanes } from '../mesh/lanes.js'
import { checkLength, checkNodeId, checkOffset, checkRights } from './checks.js'
import type { OperationOptions } from './operation.js'
import { Operations } from './operations.js'
import { type ExportOptions, exportRegion, type OwnMemory, Region } from './region.js'
import { RemoteRegion } from './remote-region.js'
import {
  checkMembers,
  checkReplicated,
  type ReplicatedExportOptions,
  ReplicatedRegion,
  replicaInfo,
} from './replicas.js'

/** Longest text of a grant: eight delegations with their certificates. */
const MAX_GRANT_CHARACTERS = 262_144
const MAX_TTL_MS = 30 * 86_400_000
const DEFAULT_TIMEOUT_MS = 5_000
const GRANT_FIELDS = new Set(['to', 'offset', 'length', 'rights', 'ttlMs'])
const IMPORT_FIELDS = new Set(['timeoutMs', 'signal', 'operationTimeoutMs', 'members'])

export interface GrantRequest {
  /** Node id of who may use it: its `mesh.nodeId`. */
  to: string
  /** Default 0. */
  offset?: number
  /** Default: to the end of the region as it is now. */
  length?: number
  rights: Rights
  /** Default a minute, at most 30 days. */
  ttlMs?: number
}

export interface ImportOptions extends OperationOptions {
  /** Deadline of each operation that names none, milliseconds; default 5,000. */
  operationTimeoutMs?: number
  /**
   * For a replicated region: node ids of those that hold it (its `members`). All should be connected: only those can answer.
   * An empty list asks the node that made it who they are.
   */
  members?: readonly string[]
}

export class Memory {
  readonly #core: Core
  readonly #lanes: Lanes
  /** By handle: memory that JavaScript brought along must stay while others use it. */
  readonly #regions = new Map<number, Region>()
  #operations: Operations | undefined

  /** @internal */
  constructor(core: Core, lanes: Lanes) {
    this.#core = core
    this.#lanes = lanes
  }

  /**
   * Offers memory under a name. Nobody can reach it before a {@link grant}.
   *
   * A `SharedArrayBuffer` is best: `Atomics` of any thread and atomics of other nodes work on the same words. An
   * `ArrayBuffer` or `Buffer` can no longer be transferred. `{ bytes }` makes pages of linkmesh's own, which may grow,
   * `{ bytes, file }` maps a file.
   *
   * With `replicas` the region lives on this node and on the named ones at once and outlives any of them; see
   * {@link ReplicatedRegion}. It begins with a copy of the memory that is given, and the promise resolves when all have joined.
   * Words of atomics are little-endian on every machine.
   */
  export(
    name: string,
    memory: ArrayBufferLike | ArrayBufferView | Pick<OwnMemory, 'bytes'>,
    options: ReplicatedExportOptions,
  ): Promise<ReplicatedRegion>
  export(name: string, memory: ArrayBufferLike | ArrayBufferView | OwnMemory, options?: ExportOptions): Promise<Region>
  async export(
    name: string,
    memory: ArrayBufferLike | ArrayBufferView | OwnMemory,
    options: ExportOptions | ReplicatedExportOptions = {},
  ): Promise<Region | ReplicatedRegion> {
    this.#mustHaveNode()
    if ('replicas' in checkRecord(options, 'options'))
      return this.#replicate(name, memory, options as ReplicatedExportOptions)
    const region = exportRegion(this.#core, name, memory, options, (one) => this.#regions.delete(one.handle))
    this.#regions.set(region.handle, region)
    return region
  }

  async #replicate(name: string, memory: unknown, options: ReplicatedExportOptions): Promise<ReplicatedRegion> {
    const { asked, bytes } = checkReplicated(name, memory, options)
    const { binding, handle } = this.#core
    const { nodeId } = JSON.parse(binding.nodeInfo(handle)) as NodeInfo
    await this.#ask(`the replicated region ${shown(name)}`, () =>
      binding.replicaCreate(handle, JSON.stringify(asked), bytes),
    )
    return new ReplicatedRegion(this.#core, name, bytes.length, [nodeId, ...asked.backups])
  }

  /** How many bytes of other nodes' replicated regions this node keeps as their backup; none unless this is called. */
  acceptReplicas(bytes: number): void {
    this.#mustHaveNode()
    checkInteger(bytes, 'bytes', 0, Number.MAX_SAFE_INTEGER)
    this.#core.must(this.#core.binding.replicaAccept(this.#core.handle, bytes), 'the bytes for replicas')
  }

  /** How this node stands in the replicated region that `creator` made; undefined when it does not hold it. */
  replica(creator: string, name: string): ReplicaInfo | undefined {
    this.#mustHaveNode()
    checkNodeId(creator, 'creator')
    return replicaInfo(this.#core, creator, checkName(name, 'name'))
  }

  /**
   * Signs a grant for one node. It is text: send it by any way, it opens nothing for anybody else. Ends at its expiry,
   * by {@link revoke}, or with its region; that of a replicated region by its expiry or with the region.
   */
  async grant(region: string | Region | ReplicatedRegion, options: GrantRequest): Promise<string> {
    this.#mustHaveNode()
    const isRegion = region instanceof Region || region instanceof ReplicatedRegion
    const name = isRegion ? region.name : checkName(region, 'region')
    const asked: GrantOptions = { region: name, ...checkGrant(options) }
    return this.#ask(`a grant for ${shown(name)}`, () =>
      this.#core.binding.grantIssue(this.#core.handle, JSON.stringify(asked)),
    )
  }

  /** Signs a grant for a third node that gives no more than `grant`, which was issued to this node. */
  async delegate(grant: string, options: GrantRequest): Promise<string> {
    this.#mustHaveNode()
    checkText(grant)
    const asked = checkGrant(options)
    return this.#ask('a narrower grant', () =>
      this.#core.binding.grantDelegate(this.#core.handle, grant, JSON.stringify(asked)),
    )
  }

  /** What a grant says of itself. Not checked: only the node that issued it can tell whether it is good. */
  describe(grant: string): GrantInfo {
    checkText(grant)
    const text = this.#core.binding.grantInfo(grant)
    if (text === '') throw invalid('grant', 'this text is no grant, or a part of it is missing')
    return JSON.parse(text) as GrantInfo
  }

  /** Ends a grant that this node issued, and those derived from it. */
  revoke(grant: string): void {
    this.#mustHaveNode()
    checkText(grant)
    this.#core.must(this.#core.binding.grantRevoke(this.#core.handle, grant), 'the grant')
  }

  /** Opens the memory that a grant is for. The node that issued it must be connected. */
  async import(grant: string, options: ImportOptions = {}): Promise<RemoteRegion> {
    this.#mustHaveNode()
    checkText(grant)
    checkFields(checkRecord(options, 'options'), IMPORT_FIELDS, 'options')
    const { signal } = options
    const timeoutMs =
      options.timeoutMs === undefined ? DEFAULT_TIMEOUT_MS : checkTimeout(options.timeoutMs, 'options.timeoutMs')
    const operationTimeoutMs =
      options.operationTimeoutMs === undefined
        ? DEFAULT_TIMEOUT_MS
        : checkTimeout(options.operationTimeoutMs, 'options.operationTimeoutMs')
    if (signal !== undefined && checkSignal(signal).aborted)
      throw new CancelledError('the import was cancelled', { cause: signal.reason })
    const { binding, handle } = this.#core
    const members = options.members === undefined ? undefined : checkMembers(options.members, 'options.members')
    const text = await this.#ask('the import of a grant', () =>
      members === undefined
        ? binding.remoteImport(handle, grant, timeoutMs)
        : binding.replicaImport(handle, grant, JSON.stringify(members), timeoutMs),
    )
    const pieceBytes = members === undefined ? BULK_BYTES : INLINE_BYTES
    const remote = new RemoteRegion(this.#page(), JSON.parse(text) as RemoteInfo, operationTimeoutMs, pieceBytes)
    if (signal?.aborted === true) {
      remote.close()
      throw new CancelledError('the import was cancelled', { cause: signal.reason })
    }
    return remote
  }

  /** @internal Ends what waits: the mesh closes. */
  end(error: LinkmeshError): void {
    this.#operations?.endAll(error)
    for (const region of this.#regions.values()) region.revoke()
  }

  /** @internal Operations without an answer. */
  get outstanding(): number {
    return this.#operations?.outstanding ?? 0
  }

  async #ask(what: string, work: () => Promise<string>): Promise<string> {
    try {
      return await work()
    } catch (cause) {
      throw errorOfRejection(cause, what)
    }
  }

  #page(): Operations {
    if (this.#operations === undefined) {
      const page = this.#core.binding.memoryPage(this.#core.handle)
      if (page === null) throw this.#core.error(-5, 'remote memory')
      this.#operations = new Operations(this.#core, page, () => this.#lanes.stir())
      this.#lanes.poller = this.#operations
    }
    return this.#operations
  }

  #mustHaveNode(): void {
    const { binding, handle, name, closed } = this.#core
    if (closed) throw errorOf('LM_CLOSED', `mesh ${name} is closed`)
    if (binding.info().backend === 'fallback') throw errorOf('LM_NATIVE_REQUIRED', `remote memory ${NATIVE_HINT}`)
    if (binding.nodeInfo(handle) === '')
      throw invalid('options', `mesh ${name} is no node: open it with listen or join to share memory`)
  }
}

function checkGrant(options: GrantRequest): Omit<GrantOptions, 'region'> {
  checkFields(checkRecord(options, 'options'), GRANT_FIELDS, 'options')
  const { to, offset = 0, length, rights, ttlMs = 60_000 } = options
  checkNodeId(to, 'options.to')
  checkOffset(offset, 'options.offset')
  if (length !== undefined) checkLength(length, Number.MAX_SAFE_INTEGER, 'options.length')
  checkRights(rights, 'options.rights')
  checkInteger(ttlMs, 'options.ttlMs', 1, MAX_TTL_MS)
  return { to, offset, length: length ?? null, rights, ttlMs }
}

function checkText(grant: unknown): void {
  if (typeof grant !== 'string') throw invalid('grant', `grant must be the text of a grant, not ${shown(grant)}`)
  if (grant.length === 0 || grant.length > MAX_GRANT_CHARACTERS)
    throw invalid(
      'grant',
      `grant has ${grant.length} characters; 1 to ${MAX_GRANT_CHARACTERS} are allowed`,
      MAX_GRANT_CHARACTERS,
    )
}
