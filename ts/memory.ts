/**
 * Remote memory: one-sided reads, writes and atomics on memory of other processes. Start at {@link Memory}, which is
 * `mesh.memory`. The parts: `region` (memory of this process), `remote-region` and `batch` (operations), `operations`
 * (their way through the binding), `replicas` (regions that several nodes hold). Deliberately absent: what makes an atomic
 * exactly-once, a grant valid or a failover safe. That is native.
 */
export type { Compression, GrantInfo, RegionInfo, RemoteInfo, Rights } from './binding/contract-memory.js'
export type { ReplicaInfo } from './binding/contract-replicas.js'
export type { Batch } from './memory/batch.js'
export { BatchError, type BatchResults } from './memory/batch-results.js'
export { type GrantRequest, type ImportOptions, Memory } from './memory/memory.js'
export type { OperationOptions, TransferOptions } from './memory/operation.js'
export type { ExportOptions, OwnMemory, Region } from './memory/region.js'
export type { RemoteRegion, SyncOptions, VersionedOptions } from './memory/remote-region.js'
export type { ReplicatedExportOptions, ReplicatedRegion, ReplicaOptions } from './memory/replicas.js'
export type { VersionedRead } from './memory/single.js'
