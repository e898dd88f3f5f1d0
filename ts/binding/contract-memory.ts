/**
 * The boundary for remote memory: regions of this process, and operations on those of others. Part of {@link Binding}.
 *
 * Operations cross in batches. A thread writes records into its **operation page**, and one {@link MemoryBinding.memoryFlush}
 * per microtask submits all of them, drives the engine for a moment if nobody else does, and leaves completions in the
 * same page. So one operation costs a few typed-array writes, and the crossing is shared. Bodies up to
 * {@link INLINE_BYTES} travel through the page; larger ones by the calls for bulk.
 */
import type { Handle, Status } from './contract.js'

/** What an operation does. */
export const MemoryOp = {
  Read: 1,
  Write: 2,
  FetchAdd: 3,
  CompareAndSwap: 4,
  Fence: 5,
  /** A read between two loads of a version word. */
  ReadVersioned: 6,
} as const
export type MemoryOp = (typeof MemoryOp)[keyof typeof MemoryOp]

/**
 * The operation page: one `ArrayBuffer` per thread and mesh.
 *
 * | bytes | what |
 * |---|---|
 * | 0 … 64 | header: three 64-bit operands of a synchronous call |
 * | 64 … 65,600 | submissions: {@link PAGE_RECORDS} records of 64 bytes |
 * | … 131,136 | completions: as many records of 64 bytes |
 * | … | data of submissions, then data of completions: {@link PAGE_DATA_BYTES} each |
 */
export const RECORD_BYTES = 64
export const PAGE_RECORDS = 1_024
export const PAGE_DATA_BYTES = 1 << 20
export const SUBMISSIONS_AT = 64
export const COMPLETIONS_AT = SUBMISSIONS_AT + PAGE_RECORDS * RECORD_BYTES
export const SUBMIT_DATA_AT = COMPLETIONS_AT + PAGE_RECORDS * RECORD_BYTES
export const COMPLETE_DATA_AT = SUBMIT_DATA_AT + PAGE_DATA_BYTES
export const PAGE_BYTES = COMPLETE_DATA_AT + PAGE_DATA_BYTES
/** Largest body that travels through the page. */
export const INLINE_BYTES = 64 << 10
/** Largest body of one bulk transfer; longer ones are split by the caller. */
export const BULK_BYTES = 16 << 20
/** Most operations in one frame. */
export const BATCH_OPERATIONS = 256

/** A submission, in words of 32 bits from the start of its record. */
export const Submission = {
  Op: 0,
  /** Chosen by the caller; comes back in the completion. */
  Id: 1,
  Remote: 2,
  /** Bytes to read or write. */
  Length: 3,
  /** float64: where, counted from the start of the grant's slice. */
  OffsetF64: 2,
  /** float64: milliseconds from now; Infinity for none. */
  TimeoutF64: 3,
  /** uint64: the operand, the expected value, or the offset of the version word. */
  A64: 4,
  /** uint64: the desired value. */
  B64: 5,
  /** Where the body begins, from the start of the submissions' data. */
  Data: 12,
  /** 1: goes into one frame with the record after it, up to {@link BATCH_OPERATIONS}. */
  More: 13,
  /** Comes back in the completion: the place within a batch that shares one id. */
  Index: 14,
} as const

/** A completion, in words of 32 bits from the start of its record. */
export const Completion = {
  Id: 0,
  /** int32: 0, or a {@link Status}. */
  Status: 1,
  Length: 2,
  /** Bits of {@link CompletionFlag}. */
  Flags: 3,
  /** uint64: what the word was before a fetch-and-add or a compare-and-swap; bytes so far of a bulk transfer. */
  Value64: 2,
  /** uint64: the version word before and after a versioned read. */
  Before64: 3,
  After64: 4,
  /** Where the bytes begin, from the start of the completions' data. */
  Data: 10,
  /** {@link CompletionField} that was wrong. */
  Field: 11,
  /** float64: the bound that was crossed. */
  LimitF64: 6,
  Index: 14,
} as const

export const CompletionFlag = {
  /** The same operation may well succeed later. */
  Retryable: 1,
  /** It was applied at the other side although it failed here. */
  Delivered: 2,
  /** It may have been applied; nobody can tell. */
  Unknown: 4,
  /** Its bytes are outside the page: fetch them by `memoryTake`. */
  Bulk: 8,
  /** Not the end: so many bytes of a bulk transfer are through. */
  Progress: 16,
  /** It was done in memory that is mapped here: the next one can be done within a call, see `memoryReadSync`. */
  Nearby: 32,
} as const

/** Which argument a refusal is about. */
export const CompletionField = { None: 0, Offset: 1, Length: 2, Remote: 3, Rights: 4, Version: 5 } as const

/** Words of a synchronous atomic in the page's header. */
export const SyncWord = { Expected64: 0, Operand64: 0, Desired64: 1, Previous64: 2 } as const

export interface MemoryBinding {
  // --- regions of this process ----------------------------------------------------------------------
  /**
   * Offers memory under a name. `options`: JSON of {@link RegionOptions}. `memory`: what JavaScript brings along, which
   * stays where it is; null for pages or a file of our own.
   */
  regionExport(mesh: Handle, options: string, memory: Uint8Array | null): Handle | Status
  /** The region's own memory; null for memory that JavaScript brought along, or when the handle is stale. */
  regionMemory(mesh: Handle, region: Handle): ArrayBuffer | null
  /** JSON of {@link RegionInfo}. */
  regionInfo(mesh: Handle, region: Handle): string
  /** Makes a region of our own longer. It never moves. */
  regionGrow(mesh: Handle, region: Handle, length: number): 0 | Status
  /** Writes a mapped file through to its disk. */
  regionSync(mesh: Handle, region: Handle): Promise<void>
  /** Ends every access for good; when it returns none is running. */
  regionRevoke(mesh: Handle, region: Handle): 0 | Status

  // --- grants -----------------------------------------------------------------------------------------
  /** Signs a grant. `options`: JSON of {@link GrantOptions}. Resolves to its text; a refusal rejects with JSON of `ErrorData`. */
  grantIssue(mesh: Handle, options: string): Promise<string>
  /** Signs a narrower grant for a third node. `options`: JSON of {@link GrantOptions} without `region`. */
  grantDelegate(mesh: Handle, grant: string, options: string): Promise<string>
  /** JSON of {@link GrantInfo}, unverified: what the text says of itself. '' when it is no grant. */
  grantInfo(grant: string): string
  grantRevoke(mesh: Handle, grant: string): 0 | Status

  // --- memory of other processes ------------------------------------------------------------------------
  /** Presents a grant to the node that issued it. Resolves to JSON of {@link RemoteInfo}; a refusal rejects with JSON of `ErrorData`. */
  remoteImport(mesh: Handle, grant: string, timeoutMs: number): Promise<string>
  /** JSON of {@link RemoteInfo}; '' when it is closed. */
  remoteInfo(mesh: Handle, remote: Handle): string
  remoteClose(mesh: Handle, remote: Handle): 0 | Status

  // --- operations: per thread -----------------------------------------------------------------------------
  /** This thread's operation page, {@link PAGE_BYTES} long; null without a node. */
  memoryPage(mesh: Handle): ArrayBuffer | null
  /**
   * Submits the first `count` records, then drives the engine for up to `spinUs` microseconds unless something completes
   * earlier. Returns the number of completions in the page; more may wait when it is {@link PAGE_RECORDS}. Hot.
   */
  memoryFlush(mesh: Handle, count: number, spinUs: number): number
  /** Gives an operation up: 0 when it never left, 1 when it did, -1 when its completion is there already. Hot. */
  memoryCancel(mesh: Handle, id: number): 0 | 1 | Status
  /**
   * Reads within the call. Bytes written to `target`, all of it, or a status. Hot.
   *
   * As for all three that wait within the call: with a `timeoutMs` of 0 it is done only when that takes no waiting, in
   * memory that is mapped here and to which nothing of this thread is on its way; `NoMatch` otherwise.
   */
  memoryReadSync(mesh: Handle, remote: Handle, offset: number, target: Uint8Array, timeoutMs: number): number
  /** Compares and swaps within the call; operands and the previous value are {@link SyncWord}s of the page. Hot. */
  memoryCasSync(mesh: Handle, remote: Handle, offset: number, timeoutMs: number): 0 | Status
  /** Fetches and adds within the call; operand and previous value as for `memoryCasSync`. Hot. */
  memoryAddSync(mesh: Handle, remote: Handle, offset: number, timeoutMs: number): 0 | Status
  /** Starts a bulk read; completes by the record of that id. */
  memoryBulkRead(
    mesh: Handle,
    id: number,
    remote: Handle,
    offset: number,
    length: number,
    timeoutMs: number,
  ): 0 | Status
  /** Starts a bulk write. The bytes are copied before it returns. */
  memoryBulkWrite(
    mesh: Handle,
    id: number,
    remote: Handle,
    offset: number,
    bytes: Uint8Array,
    timeoutMs: number,
  ): 0 | Status
  /** Moves the bytes of a completed bulk read into `target`, once. Their number, or a status. */
  memoryTake(mesh: Handle, id: number, target: Uint8Array): number
}

/** A codec for blocks that look as if they would shrink; `auto`: whichever saves time on the path as it is, if any. */
export type Compression = 'none' | 'lz4' | 'zstd' | 'auto'

/** Some of `rwa`, in this order: read, write, atomic. */
export type Rights = 'r' | 'w' | 'a' | 'rw' | 'ra' | 'wa' | 'rwa'

export interface RegionOptions {
  name: string
  rights: Rights
  /** Bytes of a region of our own. */
  bytes?: number
  /** Most bytes it may grow to; default `bytes`. */
  maxBytes?: number
  /** Backed by this file. */
  file?: string
  /** How bulk transfers may be compressed; default `none`. */
  compression?: Compression
}

export interface RegionInfo {
  handle: Handle
  name: string
  length: number
  maxLength: number
  rights: Rights
  epoch: number
  kind: 'borrowed' | 'pages' | 'shared' | 'file'
  revoked: boolean
}

export interface GrantOptions {
  /** Name of the region. */
  region: string
  /** Node id of who may use it, 64 hex digits. */
  to: string
  offset: number
  /** null: to the end of the region as it is now. */
  length: number | null
  rights: Rights
  ttlMs: number
}

export interface GrantInfo {
  region: string
  /** Who issued it, and who may use it. */
  from: string
  to: string
  offset: number
  length: number
  rights: Rights
  /** Milliseconds since 1970. */
  expiresAtMs: number
  /** How many times it was passed on. */
  depth: number
}

export interface RemoteInfo {
  handle: Handle
  region: string
  /** Node whose memory it is. */
  node: string
  length: number
  rights: Rights
  expiresAtMs: number
  /** How it is reached now. */
  via: 'quic' | 'shared-memory'
}
