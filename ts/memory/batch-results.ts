/** The answers of a batch. */
import { LinkmeshError } from '../errors.js'

/** Some operations of a batch failed; the others were done. Which, and how: {@link BatchError.results}. */
export class BatchError extends LinkmeshError {
  static override readonly brand: symbol = Symbol.for('linkmesh.error.batch')
  readonly results: BatchResults

  constructor(first: LinkmeshError, index: number, results: BatchResults) {
    super(first.code, `operation ${index} of a batch of ${results.length}: ${first.message}`, {
      retryable: first.retryable,
      outcome: first.outcome,
      field: first.field,
      limit: first.limit,
      cause: first,
    })
    this.results = results
  }
}
Object.defineProperty(BatchError.prototype, BatchError.brand, { value: true })
Object.defineProperty(BatchError.prototype, 'name', { value: 'BatchError', configurable: true, writable: true })

/** The answers of a batch, by the index that each call returned. */
export class BatchResults {
  readonly length: number
  /** @internal What words were before atomics; undefined without atomics. */
  values: BigUint64Array | undefined = undefined
  /** @internal The target of each read that has one. */
  readonly targets: (Uint8Array | undefined)[]
  /** @internal Reads without a target: where in `block` the bytes of each begin, and how many there are. */
  readonly places: Uint32Array | undefined
  /** @internal */
  readonly block: Uint8Array | undefined
  /** @internal */
  errors: Map<number, LinkmeshError> | undefined = undefined

  /** @internal */
  constructor(
    length: number,
    targets: (Uint8Array | undefined)[],
    places: Uint32Array | undefined,
    block: Uint8Array | undefined,
  ) {
    this.length = length
    this.targets = targets
    this.places = places
    this.block = block
  }

  /** What the word was before the fetch-and-add or the compare-and-swap. */
  value(index: number): bigint {
    this.#must(index)
    return this.values?.[index] ?? 0n
  }

  /** The bytes of a read: its target, or a view on memory that the reads of the batch without a target share. */
  bytes(index: number): Uint8Array {
    this.#must(index)
    const target = this.targets[index]
    if (target !== undefined) return target
    const length = this.places?.[2 * index + 1] ?? 0
    if (length === 0)
      throw new LinkmeshError('LM_INVALID_ARGUMENT', `operation ${index} of the batch is not a read`, {
        field: 'index',
      })
    const start = this.places?.[2 * index] ?? 0
    return (this.block as Uint8Array).subarray(start, start + length)
  }

  /** Why an operation failed; undefined when it was done. */
  error(index: number): LinkmeshError | undefined {
    return this.errors?.get(index)
  }

  #must(index: number): void {
    if (!Number.isInteger(index) || index < 0 || index >= this.length)
      throw new LinkmeshError('LM_INVALID_ARGUMENT', `the batch had ${this.length} operations, none is ${index}`, {
        field: 'index',
        limit: this.length - 1,
      })
    const error = this.error(index)
    if (error !== undefined) throw error
  }
}
