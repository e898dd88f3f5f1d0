/**
 * Requests with an idempotency key, where they are served: the first runs, and repeats have its answer. The ledger itself
 * is the router's, for all threads of the process; here results become bytes and answers again.
 */
import { type Handle, INSTANCE_WORDS, InstanceWord, LedgerEntry, Outcome, Scratch } from '../binding/contract.js'
import { LinkmeshError } from '../errors.js'
import { BodyCodec, BodyKind, Encoded } from './codec.js'
import { type Core, slotOf } from './core.js'
import { errorFromText, errorToText } from './error-data.js'
import { failureOf, saysRetryable } from './outcomes.js'
import type { Waits } from './waits.js'

/** First byte of a recorded failure; of a reply it is its {@link BodyKind}. The second is the fingerprint's length. */
const FAILURE = 255
const RECORD_HEADER = 2

export class Ledger {
  readonly #core: Core
  readonly #waits: Waits
  /** Structured clones: a repeat gets Map, Date and typed arrays as the first caller did, whatever the lanes' codec is. */
  readonly #codec = new BodyCodec('v8')
  readonly #encoded = new Encoded()

  constructor(core: Core, waits: Waits) {
    this.#core = core
    this.#waits = waits
  }

  /**
   * The answer to a request with this key: by `handle` when it is the first, else as the first was answered. One whose
   * fingerprint is not the first one's is another request and is refused.
   */
  async run(instance: Handle, key: string, fingerprint: string | undefined, handle: () => unknown): Promise<unknown> {
    const { binding, handle: mesh, scratch, views } = this.#core
    const service = views.instances[slotOf(instance) * INSTANCE_WORDS + InstanceWord.Service] as number
    for (;;) {
      const id = this.#core.must(binding.ledgerBegin(mesh, service, key), 'the ledger')
      switch (scratch[Scratch.Entered]) {
        case LedgerEntry.First:
          return this.#first(service, key, id, fingerprint, handle)
        case LedgerEntry.Joined:
          await new Promise<void>((resolve) => this.#waits.park(id, () => resolve()))
          break
        default: {
          const record = binding.ledgerResult(mesh, service, key)
          if (record !== null) return this.#replay(record, fingerprint)
        }
      }
      // What was joined is forgotten, or what was there is gone: begin again.
    }
  }

  async #first(service: Handle, key: string, id: number, fingerprint = '', handle: () => unknown): Promise<unknown> {
    let value: unknown
    try {
      value = await handle()
    } catch (error) {
      if (isFinal(error)) this.#record(service, key, id, failure(error, fingerprint))
      else this.#forget(service, key, id)
      throw error
    }
    // A stream is no answer to a request; whoever asked is told so.
    if (typeof value === 'object' && value !== null && Symbol.asyncIterator in value) this.#forget(service, key, id)
    else this.#record(service, key, id, this.#reply(value, fingerprint))
    return value
  }

  #record(service: Handle, key: string, id: number, record: Buffer): void {
    const { binding, handle } = this.#core
    if (binding.ledgerSettle(handle, service, key, id, record) >= 0 || this.#core.closed) return
    const cause = this.#core.error(-1, 'the ledger')
    const words = 'the first request with this idempotency key was answered, and its answer was too large to be kept'
    const { field, limit } = cause
    const small = failure(
      new LinkmeshError('LM_LIMIT_EXCEEDED', words, { outcome: 'delivered', retryable: false, field, limit }),
      fingerprintOf(record),
    )
    if (binding.ledgerSettle(handle, service, key, id, small) < 0) this.#forget(service, key, id)
  }

  #forget(service: Handle, key: string, id: number): void {
    this.#core.binding.ledgerForget(this.#core.handle, service, key, id)
  }

  #reply(value: unknown, fingerprint: string): Buffer {
    const encoded = this.#encoded
    try {
      this.#codec.encode(value, encoded)
    } catch (cause) {
      const words = 'the first request with this idempotency key was answered, and its answer cannot be copied'
      return failure(new LinkmeshError('LM_CODEC', words, { field: 'reply', outcome: 'delivered', cause }), fingerprint)
    }
    const record = recordOf(encoded.kind, fingerprint, encoded.length)
    const at = record.length - encoded.length
    if (encoded.bytes !== undefined) record.set(encoded.bytes, at)
    else if (encoded.kind !== BodyKind.None) record.write(encoded.text, at, 'utf8')
    return record
  }

  #replay(record: Uint8Array, fingerprint: string | undefined): unknown {
    const bytes = Buffer.from(record.buffer, record.byteOffset, record.byteLength)
    const first = fingerprintOf(bytes)
    if (fingerprint !== undefined && first !== '' && fingerprint !== first)
      throw new LinkmeshError('LM_CONFLICT', 'this idempotency key was used for another request', {
        field: 'idempotencyKey',
      })
    const at = RECORD_HEADER + first.length
    if (bytes[0] === FAILURE) throw errorFromText(bytes.toString('utf8', at))
    return this.#codec.decode(bytes[0] as number, { bytes, u8: record }, at, bytes.length, 0)
  }
}

/** Whether a failure is an answer: not when the instance refused for now, the caller gave up, or it says that a repeat may do. */
function isFinal(error: unknown): boolean {
  const outcome = failureOf(error)
  return outcome !== Outcome.Rejected && outcome !== Outcome.Cancelled && saysRetryable(error) !== true
}

function failure(error: unknown, fingerprint: string): Buffer {
  const text = errorToText(error)
  const length = Buffer.byteLength(text)
  const record = recordOf(FAILURE, fingerprint, length)
  record.write(text, record.length - length, 'utf8')
  return record
}

/** A record with room for so many bytes. Fingerprints are printable ASCII, at most 128 characters. */
function recordOf(kind: number, fingerprint: string, bytes: number): Buffer {
  const record = Buffer.allocUnsafe(RECORD_HEADER + fingerprint.length + bytes)
  record[0] = kind
  record[1] = fingerprint.length
  record.write(fingerprint, RECORD_HEADER, 'latin1')
  return record
}

function fingerprintOf(record: Buffer): string {
  return record.toString('latin1', RECORD_HEADER, RECORD_HEADER + (record[1] as number))
}
