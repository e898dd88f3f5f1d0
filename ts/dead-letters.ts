/** Dead letters and the audit trail. What they do is in `dead-letters/`. */
export type { JournalOptions, LetterAttempt, LetterFilter, LetterState } from './binding/contract-journal.js'
export { type AuditEntry, AuditLog, type AuditRecord } from './dead-letters/audit.js'
export { type DeadLetterStats, DeadLetters } from './dead-letters/dead-letters.js'
export type {
  DeadLetter,
  DeadLetterEntry,
  DeadLetterEvent,
  DeadLetterSummary,
  StoredLetter,
} from './dead-letters/entry.js'
export type { RedriveAllOptions, RedriveOptions, RedriveProgress, RedriveSummary } from './dead-letters/redrive.js'
export type { Verification } from './dead-letters/verification.js'
