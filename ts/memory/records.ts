/** Submissions of a batch that is being collected, laid out as in the operation page. */
import { BATCH_OPERATIONS, RECORD_BYTES, Submission } from '../binding/contract-memory.js'

const WORDS = RECORD_BYTES / 4
const LONGS = RECORD_BYTES / 8

/** Memory for one batch. Used again by the next one, so that collecting an operation allocates nothing. */
export class Records {
  readonly bytes = new Uint8Array(BATCH_OPERATIONS * RECORD_BYTES)
  readonly #u32 = new Uint32Array(this.bytes.buffer)
  readonly #f64 = new Float64Array(this.bytes.buffer)
  readonly #u64 = new BigUint64Array(this.bytes.buffer)

  add(index: number, op: number, remote: number, offset: number, length: number): void {
    const word = index * WORDS
    const u32 = this.#u32
    u32[word + Submission.Op] = op
    u32[word + Submission.Remote] = remote
    u32[word + Submission.Length] = length
    u32[word + Submission.More] = 1
    u32[word + Submission.Index] = index
    this.#f64[index * LONGS + Submission.OffsetF64] = offset
  }

  /** Sets one word of a record. */
  set(index: number, field: number, value: number): void {
    this.#u32[index * WORDS + field] = value
  }

  operands(index: number, a: bigint, b: bigint): void {
    this.#u64[index * LONGS + Submission.A64] = a
    this.#u64[index * LONGS + Submission.B64] = b
  }

  op(index: number): number {
    return this.#u32[index * WORDS + Submission.Op] as number
  }

  offset(index: number): number {
    return this.#f64[index * LONGS + Submission.OffsetF64] as number
  }

  length(index: number): number {
    return this.#u32[index * WORDS + Submission.Length] as number
  }
}
