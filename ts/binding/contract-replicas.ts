/** The boundary for replicated regions: memory that several nodes hold at once. Part of {@link Binding}. */
import type { Handle, Status } from './contract.js'
import type { Rights } from './contract-memory.js'

export interface ReplicaBinding {
  /** How many bytes of other nodes' regions this node keeps as their backup; none at first. */
  replicaAccept(mesh: Handle, bytes: number): 0 | Status
  /**
   * Makes a region that lives on this node and on its backups. `options`: JSON of {@link ReplicateOptions}; `bytes`: what it
   * begins with, copied. Resolves to '' once every backup has joined; a refusal rejects with JSON of `ErrorData`.
   */
  replicaCreate(mesh: Handle, options: string, bytes: Uint8Array): Promise<string>
  /** Ends the region that this node made under `name`, wherever it is held. Members out of reach hear of it later. */
  replicaEnd(mesh: Handle, name: string): 0 | Status
  /** JSON of {@link ReplicaInfo} for the region that `creator` made under `name`; '' when this node does not hold it. */
  replicaInfo(mesh: Handle, creator: string, name: string): string
  /**
   * As `remoteImport`, for a grant of a replicated region. `members`: JSON array of node ids that hold it, or `[]` for the
   * node that made it.
   */
  replicaImport(mesh: Handle, grant: string, members: string, timeoutMs: number): Promise<string>
}

export interface ReplicateOptions {
  name: string
  /** Most that any grant may give. */
  rights: Rights
  /** Node ids, 64 hex digits each. */
  backups: string[]
  /** Backups that must have applied a change before it is acknowledged. */
  acknowledgements: number
  timeoutMs: number
}

export interface ReplicaInfo {
  /** `blank`: it has received nothing yet. `candidate`: it asks the others whether it may lead. */
  standing: 'blank' | 'backup' | 'candidate' | 'primary'
  /** Of the fencing epoch: higher after each failover. */
  round: number
  /** Changes applied here. */
  changes: number
  /** At the primary: changes that enough backups have applied. */
  acknowledged: number
  /** At the primary: backups heard of lately. */
  reachable: number
}
