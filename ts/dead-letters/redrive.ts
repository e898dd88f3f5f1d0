/** Sending letters again: one at a time or many, at a limited rate, cancellable, resumable. */
import type { LetterFilter, LetterState, RedriveOutcome } from '../binding/contract-journal.js'
import { LinkmeshError } from '../errors.js'
import { checkFields, checkInteger, checkNumber, checkRecord, checkSignal } from '../mesh/checks.js'
import type { DeadLetter, DeadLetterSummary } from './entry.js'

export interface RedriveOptions {
  /** Who asks; kept in the letter's history. Default `api`. */
  by?: string
  /** Also a parked one. */
  force?: boolean
}

export interface RedriveAllOptions extends RedriveOptions {
  /** Only say what would be sent. */
  dryRun?: boolean
  /** Letters a second at most; default 100. */
  perSecond?: number
  /** Letters under way at once, 1 to 256; default 8. */
  concurrency?: number
  /** Stops taking more; those under way finish. */
  signal?: AbortSignal
  onProgress?: (progress: RedriveProgress) => void
}

export interface RedriveProgress {
  /** Letters that matched and were taken. */
  taken: number
  delivered: number
  /** Failed again and may be redriven. */
  failed: number
  /** Failed again and were parked. */
  parked: number
  /** Changed by somebody else meanwhile. */
  skipped: number
}

export interface RedriveSummary extends RedriveProgress {
  dryRun: boolean
  /** True when the signal stopped it. */
  cancelled: boolean
  /** Give this as `filter.from` to go on after the last letter that was taken. */
  next: number
}

/** What a redrive needs of the letters. */
export interface RedriveStore {
  list(filter: LetterFilter): Promise<{ letters: DeadLetterSummary[]; next: number | null }>
  start(id: number, by: string, force: boolean): Promise<DeadLetter>
  finish(id: number, result: RedriveOutcome): Promise<LetterState>
  /** Sends the message; never rejects. */
  send(letter: DeadLetter): Promise<RedriveOutcome>
}

const FIELDS: ReadonlySet<string> = new Set([
  'by',
  'force',
  'dryRun',
  'perSecond',
  'concurrency',
  'signal',
  'onProgress',
])
const PAGE = 256

/** Sends one letter again; its state afterwards. */
export async function redriveOne(store: RedriveStore, id: number, options: RedriveOptions = {}): Promise<LetterState> {
  const { by = 'api', force = false } = options
  const letter = await store.start(id, by, force)
  return store.finish(id, await store.send(letter))
}

/** Sends every letter that matches once, by id. */
export async function redriveAll(
  store: RedriveStore,
  filter: LetterFilter,
  options: RedriveAllOptions = {},
): Promise<RedriveSummary> {
  checkFields(checkRecord(options, 'options'), FIELDS, 'options')
  const { dryRun = false, perSecond = 100, concurrency = 8, signal, onProgress } = options
  checkNumber(perSecond, 'options.perSecond', 0.001, 100_000)
  checkInteger(concurrency, 'options.concurrency', 1, 256)
  if (signal !== undefined) checkSignal(signal)
  const summary: RedriveSummary = {
    taken: 0,
    delivered: 0,
    failed: 0,
    parked: 0,
    skipped: 0,
    dryRun,
    cancelled: false,
    next: filter.from ?? 0,
  }
  const states = filter.states ?? (options.force === true ? ['dead', 'parked'] : ['dead'])
  const pace = new Pace(perSecond)
  const underWay = new Set<Promise<void>>()
  const one = async (id: number): Promise<void> => {
    try {
      const state = await redriveOne(store, id, options)
      if (state === 'redriven') summary.delivered++
      else if (state === 'parked') summary.parked++
      else summary.failed++
    } catch (error) {
      // Purged, or redriven by somebody else, since it was listed.
      const code = error instanceof LinkmeshError ? error.code : undefined
      if (code !== 'LM_CONFLICT' && code !== 'LM_NOT_FOUND') throw error
      summary.skipped++
    }
    onProgress?.({ ...summary })
  }
  let failure: { error: unknown } | undefined
  const limit = Math.min(PAGE, filter.limit ?? PAGE)
  let left = filter.limit ?? Number.POSITIVE_INFINITY
  let from: number | null = summary.next
  pages: while (from !== null && left > 0) {
    const page: Awaited<ReturnType<RedriveStore['list']>> = await store.list({ ...filter, states, from, limit })
    for (const { id } of page.letters) {
      if (failure !== undefined || left === 0) break pages
      if (!dryRun) await pace.next(signal)
      if (signal?.aborted) {
        summary.cancelled = true
        break pages
      }
      summary.taken++
      summary.next = id
      left--
      if (dryRun) continue
      const sending: Promise<void> = one(id)
        .catch((error: unknown) => {
          failure ??= { error }
        })
        .finally(() => underWay.delete(sending))
      underWay.add(sending)
      if (underWay.size >= concurrency) await Promise.race(underWay)
    }
    from = page.next
  }
  await Promise.all(underWay)
  if (failure !== undefined) throw failure.error
  return summary
}

/** Lets one through every so often. */
class Pace {
  readonly #everyMs: number
  #dueMs = 0

  constructor(perSecond: number) {
    this.#everyMs = 1_000 / perSecond
  }

  /** Resolves when the next may go, or at once when the signal fires. */
  next(signal: AbortSignal | undefined): Promise<void> | undefined {
    const now = performance.now()
    // A pause is not made up for by a burst, but a timer that fires late is.
    this.#dueMs = Math.max(this.#dueMs + this.#everyMs, now - LATE_MS)
    const waitMs = this.#dueMs - now
    if (waitMs <= 0 || signal?.aborted) return undefined
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', done)
        resolve()
      }
      const timer = setTimeout(done, waitMs)
      signal?.addEventListener('abort', done)
    })
  }
}

const LATE_MS = 5
