/**
 * The boundary for dead letters and the audit trail. Part of {@link Binding}.
 *
 * A mesh has one of each, shared by its threads; a handle belongs to the thread that opened it. Whatever may read the
 * disk answers with a promise; a refusal rejects with an `Error` whose message is JSON of `ErrorData`.
 */
import type { Handle, Status } from './contract.js'

export interface JournalBinding {
  /**
   * Opens dead letters or trail. `options`: JSON of {@link JournalOptions}, '' to join what another thread opened, or to
   * begin in memory when nobody has. Resolves to JSON of {@link JournalOpened}.
   */
  journalOpen(mesh: Handle, room: 'dead-letters' | 'audit', options: string): Promise<string>
  /** This thread lets go. The journal itself closes by the request `close`, or with the mesh. */
  journalClose(journal: Handle): 0 | Status
  /**
   * Queues `count` records whose UTF-8 JSON lies back to back in `bytes`, all or none. Ticket of the first; the others
   * follow it. Hot.
   */
  journalAppend(journal: Handle, bytes: Uint8Array, lengths: Uint32Array, count: number): number | Status
  /**
   * Outcomes since the last call as triples (first ticket, count, sequence of the first record or a status), also those
   * of other threads; how many. Call until it fills less than there is room for. Hot.
   */
  journalAcks(journal: Handle, out: Float64Array): number
  /** `callback` runs on this thread when there are outcomes. Never keeps the process alive. */
  journalOnAck(journal: Handle, callback: () => void): 0 | Status
  /** Checks the journal of a folder without holding it: JSON of what was found, whatever state it is in. */
  journalVerify(folder: string): Promise<string>
  /** `request`: JSON of {@link JournalRequest}. Resolves to JSON of its answer. */
  journalAsk(journal: Handle, request: string): Promise<string>
}

export interface JournalOptions {
  /** Where it is kept. Without one: in memory, gone with the process. */
  folder?: string
  /** Only looks, without holding the folder, also while another process has it open. Not shared with other threads. */
  readOnly?: boolean
  /** Only joins what another thread opened; `NotFound` when nobody has. */
  join?: boolean
  /** Goes on past damage; what is given up is in the answer. */
  repair?: boolean
  /** Redrives after which a letter that fails again is parked; default 3. */
  parkAfter?: number
  /** Preallocated size of a file, a multiple of 4,096; default 64 MiB, in memory 4 MiB. */
  segmentBytes?: number
  /** Largest letter or entry; default 1 MiB. */
  maxRecordBytes?: number
  /** Records that may wait to be written; default 65,536. */
  maxQueuedRecords?: number
  /** What is kept; default 8 GiB, in memory 64 MiB. The oldest goes first, a file at a time. */
  retention?: { records?: number; bytes?: number; ageMs?: number }
}

export interface JournalOpened {
  handle: Handle
  /** True when another thread had opened it. */
  joined: boolean
  durable: boolean
  maxRecordBytes: number
  recovery: Recovery
}

/** What opening found and did. */
export interface Recovery {
  firstSequence: number
  lastSequence: number
  /** Of writes under way when the process before ended. Nobody was told that they were durable. */
  tornBytes: number
  /** What a repair gave up. */
  dropped: Gap[]
}

/** Records that could not be read any more and were given up by a repair. */
export interface Gap {
  segment: number
  from: number
  to: number
  firstSequence: number
  lastSequence: number
  what: string
}

export type LetterState = 'dead' | 'redriving' | 'redriven' | 'parked'

export type JournalRequest =
  | { op: 'list'; filter?: LetterFilter }
  | { op: 'get'; id: number }
  | { op: 'stats' }
  | { op: 'start-redrive'; id: number; by: string; force?: boolean }
  | { op: 'finish-redrive'; id: number; result: RedriveOutcome }
  | { op: 'purge'; filter: LetterFilter; by: string; dryRun?: boolean }
  | { op: 'read'; query?: AuditQuery }
  | { op: 'verify' }
  | { op: 'retain' }
  | { op: 'close' }

/** Every given condition must hold. */
export interface LetterFilter {
  /** Default: all but `redriven`. */
  states?: LetterState[]
  service?: string
  /** Code of the last error. */
  reason?: string
  key?: string
  qos?: string
  outcome?: 'delivered' | 'not-delivered' | 'unknown'
  /** Given up last at this time or later, milliseconds since 1970. */
  afterMs?: number
  /** Given up last before this time. */
  beforeMs?: number
  /** At most 1,000. */
  ids?: number[]
  /** Only larger ids: `next` of the page before. */
  from?: number
  /** 1 to 1,000; default 100. */
  limit?: number
}

/** One try to deliver a message. */
export interface LetterAttempt {
  /** Who had it; '' when nobody was picked. */
  instance: string
  atMs: number
  /** `LM_…` or the application's own. */
  code: string
  message: string
  latencyUs: number
}

export type RedriveOutcome =
  | { result: 'delivered' }
  | {
      result: 'failed'
      outcome: 'delivered' | 'not-delivered' | 'unknown'
      reason: string
      attempts: readonly LetterAttempt[]
    }

export interface AuditQuery {
  /** The newest so many, at most 1,000. */
  tail?: number
  /** `next` of the page before. */
  from?: [number, number]
  /** 1 to 1,000. */
  limit?: number
}
