/** Views on this thread's operation page: its layout is the contract's. */
import {
  COMPLETE_DATA_AT,
  COMPLETIONS_AT,
  Completion,
  RECORD_BYTES,
  SUBMISSIONS_AT,
  SUBMIT_DATA_AT,
} from '../binding/contract-memory.js'

/** Up to this byte of the completions' data a view that was made once is kept. */
const KEPT_VIEWS_BYTES = 32 * 1024

/** What one completion says; read out of the page before the next flush overwrites it. */
export class OperationPage {
  readonly u32: Uint32Array
  readonly f64: Float64Array
  readonly u64: BigUint64Array
  readonly bytes: Uint8Array
  /**
   * Views on the bytes of completions by where they begin, in words: answers of one kind come to the same places flush after
   * flush, and a view costs three times the copy.
   */
  readonly #views: (Uint8Array | undefined)[] = new Array(KEPT_VIEWS_BYTES / 8).fill(undefined)

  constructor(memory: ArrayBuffer) {
    this.u32 = new Uint32Array(memory)
    this.f64 = new Float64Array(memory)
    this.u64 = new BigUint64Array(memory)
    this.bytes = new Uint8Array(memory)
  }

  /** Byte at which a submission begins. */
  submission(index: number): number {
    return SUBMISSIONS_AT + index * RECORD_BYTES
  }

  /** Byte at which a completion begins. */
  completion(index: number): number {
    return COMPLETIONS_AT + index * RECORD_BYTES
  }

  /** Copies a body for a submission to `at`, counted from the start of the submissions' data. */
  put(at: number, body: Uint8Array): void {
    this.bytes.set(body, SUBMIT_DATA_AT + at)
  }

  /** Copies bytes of completions, counted from the start of their data, to `to` of `target`. */
  copy(from: number, target: Uint8Array, to: number, bytes: number): void {
    target.set(this.bytes.subarray(COMPLETE_DATA_AT + from, COMPLETE_DATA_AT + from + bytes), to)
  }

  /** Bytes of the completion at byte `record`, copied into `target` or into an array of their own. */
  take(record: number, target: Uint8Array | undefined): Uint8Array {
    const length = this.u32[(record >>> 2) + Completion.Length] as number
    const start = COMPLETE_DATA_AT + (this.u32[(record >>> 2) + Completion.Data] as number)
    if (target === undefined) return this.bytes.slice(start, start + length)
    if (target.length < length) throw new TypeError('the target is detached')
    const { bytes } = this
    // Up to here a loop beats the view and the call that `set` needs.
    if (length <= 32) for (let index = 0; index < length; index++) target[index] = bytes[start + index] as number
    else target.set(this.#view(start, length))
    return target
  }

  #view(start: number, length: number): Uint8Array {
    const place = (start - COMPLETE_DATA_AT) >>> 3
    const known = this.#views[place]
    if (known !== undefined && known.length === length) return known
    const view = this.bytes.subarray(start, start + length)
    if (place < KEPT_VIEWS_BYTES / 8) this.#views[place] = view
    return view
  }
}

/** Bytes that a body takes in the page: the next one stays aligned. */
export function bodyRoom(length: number): number {
  return (length + 7) & ~7
}
