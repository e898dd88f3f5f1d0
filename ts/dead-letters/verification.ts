/** What a verification of a journal found. */
import type { Gap } from '../binding/contract-journal.js'

export interface Verification {
  /** Records that were read and fit. */
  records: number
  firstSequence: number
  lastSequence: number
  segments: number
  /** Hash of the last record. Kept elsewhere it proves that nothing up to here was changed since. */
  head: string
  /** Records that retention removed. */
  removed: number
  /** What earlier repairs gave up. */
  repaired: Gap[]
  /** Empty when the chain is valid. */
  problems: { segment: number; offset: number; sequence: number; what: string }[]
}
