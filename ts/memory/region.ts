/** Memory of this process that other nodes may be granted access to. */
import { markAsUntransferable } from 'node:worker_threads'
import type { Handle } from '../binding/contract.js'
import type { Compression, RegionInfo, RegionOptions, Rights } from '../binding/contract-memory.js'
import { errorOf, errorOfRejection, LinkmeshError } from '../errors.js'
import { checkFields, checkInteger, checkName, checkRecord, invalid, shown } from '../mesh/checks.js'
import type { Core } from '../mesh/core.js'
import { checkLength, checkRights, isDetached } from './checks.js'

/** Most bytes of one region. */
const MAX_REGION = 2 ** 40
const MAX_PATH = 4_096
const OPTION_FIELDS = new Set(['rights', 'compression'])
const COMPRESSIONS: ReadonlySet<string> = new Set(['none', 'lz4', 'zstd', 'auto'])
const OWN_FIELDS = new Set(['bytes', 'maxBytes', 'file'])

/** Memory that linkmesh makes: pages of its own, or a file that is mapped. */
export interface OwnMemory {
  bytes: number
  /** It may grow to this without moving; default `bytes`. */
  maxBytes?: number
  /** Path of the file behind it; made when it is not there. */
  file?: string
}

export interface ExportOptions {
  /** Most that any grant may give; default `rwa`. */
  rights?: Rights
  /**
   * How transfers of more than 64 KiB may be compressed, block by block; default `none`. `lz4` and `zstd` save bytes wherever a
   * block looks as if it would shrink; `auto` saves time: it looks at the path's speed, and compresses nothing on a fast one.
   * The length of what is compressed tells of its content: not for secrets beside bytes of others' choice.
   */
  compression?: Compression
}

export class Region {
  readonly name: string
  /** @internal */
  readonly handle: Handle
  readonly #core: Core
  /** Keeps memory that JavaScript brought along from being collected. */
  readonly #brought: Uint8Array | undefined
  readonly #onRevoke: (region: Region) => void
  #own: Uint8Array | undefined
  #revoked = false

  /** @internal */
  constructor(
    core: Core,
    handle: Handle,
    name: string,
    brought: Uint8Array | undefined,
    onRevoke: (region: Region) => void,
  ) {
    this.#core = core
    this.handle = handle
    this.name = name
    this.#brought = brought
    this.#onRevoke = onRevoke
  }

  info(): RegionInfo {
    const text = this.#core.binding.regionInfo(this.#core.handle, this.handle)
    if (text === '') throw errorOf('LM_STALE_HANDLE', `the region ${this.name} is gone`)
    return JSON.parse(text) as RegionInfo
  }

  get length(): number {
    return this.info().length
  }

  /** The region's bytes as this thread sees them: the memory that was given, or a view on linkmesh's own. */
  get memory(): Uint8Array {
    if (this.#brought !== undefined) return this.#brought
    if (this.#own === undefined) {
      const memory = this.#core.binding.regionMemory(this.#core.handle, this.handle)
      if (memory === null) throw errorOf('LM_STALE_HANDLE', `the region ${this.name} is gone`)
      this.#own = new Uint8Array(memory)
    }
    return this.#own
  }

  /** Makes a region of linkmesh's own longer, up to its `maxBytes`. It does not move; take {@link memory} again to see the rest. */
  grow(bytes: number): void {
    checkLength(bytes, MAX_REGION, 'bytes')
    this.#core.must(this.#core.binding.regionGrow(this.#core.handle, this.handle, bytes), `the region ${this.name}`)
    this.#own = undefined
  }

  /** Writes a mapped file through to its disk. */
  async sync(): Promise<void> {
    try {
      await this.#core.binding.regionSync(this.#core.handle, this.handle)
    } catch (cause) {
      throw errorOfRejection(cause, `the region ${this.name}`)
    }
  }

  /** Ends every access of others for good. When it returns none is running, and the memory is yours alone. */
  revoke(): void {
    if (this.#revoked) return
    this.#revoked = true
    if (!this.#core.closed) this.#core.binding.regionRevoke(this.#core.handle, this.handle)
    this.#onRevoke(this)
  }

  get revoked(): boolean {
    return this.#revoked
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.revoke()
  }
}

/** Offers memory to grants. */
export function exportRegion(
  core: Core,
  name: string,
  memory: ArrayBufferLike | ArrayBufferView | OwnMemory,
  options: ExportOptions,
  onRevoke: (region: Region) => void,
): Region {
  checkName(name, 'name')
  checkFields(checkRecord(options, 'options'), OPTION_FIELDS, 'options')
  const { rights = 'rwa', compression = 'none' } = options
  checkRights(rights, 'options.rights')
  if (!COMPRESSIONS.has(compression))
    throw invalid(
      'options.compression',
      `options.compression must be none, lz4, zstd or auto, not ${shown(compression)}`,
    )
  const asked: RegionOptions = { name, rights, compression }
  const brought = broughtMemory(memory)
  if (brought === undefined) Object.assign(asked, checkOwn(memory as OwnMemory))
  const handle = core.must(
    core.binding.regionExport(core.handle, JSON.stringify(asked), brought ?? null),
    `the region ${shown(name)}`,
  )
  return new Region(core, handle, name, brought, onRevoke)
}

/** A view on what JavaScript brings along, or undefined for a description of memory to make. */
function broughtMemory(memory: unknown): Uint8Array | undefined {
  if (memory instanceof SharedArrayBuffer) return checkBrought(new Uint8Array(memory))
  if (memory instanceof ArrayBuffer) {
    if (isDetached(memory)) throw invalid('memory', 'the memory is detached: it was transferred to another thread')
    return checkBrought(new Uint8Array(memory))
  }
  if (ArrayBuffer.isView(memory))
    return checkBrought(new Uint8Array(memory.buffer, memory.byteOffset, memory.byteLength))
  return undefined
}

function checkBrought(view: Uint8Array): Uint8Array {
  const buffer = view.buffer as ArrayBufferLike & { resizable?: boolean; growable?: boolean }
  if (buffer.resizable === true || buffer.growable === true)
    throw invalid('memory', 'memory that can be resized cannot be exported: others would see it move')
  checkLength(view.byteLength, MAX_REGION, 'memory')
  if (view.byteOffset % 8 !== 0)
    throw new LinkmeshError('LM_INVALID_ARGUMENT', 'the memory must begin at a multiple of 8 bytes of its buffer', {
      field: 'memory',
      limit: 8,
    })
  if (buffer instanceof ArrayBuffer) keepInPlace(buffer)
  return view
}

/** Others write to this memory: moving it to another thread would free it under their hands. */
function keepInPlace(buffer: ArrayBuffer): void {
  markAsUntransferable(buffer)
  for (const method of ['transfer', 'transferToFixedLength'] as const) {
    if (!(method in ArrayBuffer.prototype)) continue
    Object.defineProperty(buffer, method, {
      configurable: true,
      value: () => {
        throw errorOf('LM_INVALID_ARGUMENT', 'this memory is exported as a region and cannot be transferred')
      },
    })
  }
}

function checkOwn(memory: OwnMemory): Pick<RegionOptions, 'bytes' | 'maxBytes' | 'file'> {
  checkFields(checkRecord(memory, 'memory'), OWN_FIELDS, 'memory')
  const { bytes, maxBytes = bytes, file } = memory
  checkLength(bytes, MAX_REGION, 'memory.bytes')
  checkInteger(maxBytes, 'memory.maxBytes', bytes, MAX_REGION)
  if (file === undefined) return { bytes, maxBytes }
  if (typeof file !== 'string' || file.length === 0 || file.length > MAX_PATH || file.includes('\0'))
    throw invalid('memory.file', `memory.file must be a path of 1 to ${MAX_PATH} characters`, MAX_PATH)
  return { bytes, maxBytes, file }
}
