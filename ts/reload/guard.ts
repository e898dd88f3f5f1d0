/** Watches what follows from a change, and says as soon as it can whether the change may stay. */
import { type Bounds, slowUs, type AnswerWindow, worsening } from './bounds.js'
import type { RecentAnswers } from './recent.js'

/** How often the answers since the change are judged, milliseconds. */
const LOOK_MS = 100

export interface Judgement {
  before: AnswerWindow
  after: AnswerWindow
  /** How long was watched, milliseconds. */
  watchedMs: number
  /** Too few requests came to know: it stays because nothing speaks against it. */
  tooFew: boolean
  /** Why the change must go; undefined: it may stay. */
  worse?: string
}

/** Begins before the change: what was answered so far is what it is compared with. */
export class Guard {
  readonly #answers: RecentAnswers
  readonly #bounds: Bounds
  readonly #before: AnswerWindow
  #since = 0

  constructor(answers: RecentAnswers, bounds: Bounds) {
    this.#answers = answers
    this.#bounds = bounds
    this.#before = answers.last(BASELINE_MS)
  }

  /** The change is made: from here on. */
  changed(): void {
    this.#since = this.#answers.begin(slowUs(this.#before, this.#bounds))
  }

  /** Nobody will watch: the change was not made. */
  end(): void {
    this.#answers.end(this.#since)
  }

  /** Resolves when the time is over, or as soon as things are worse than allowed, or the signal fires. */
  watch(signal: AbortSignal): Promise<Judgement> {
    const began = performance.now()
    const judge = (): Judgement => {
      const { window: after, slices } = this.#answers.since(this.#since)
      const worse = worsening(this.#before, slices, this.#bounds)
      const watchedMs = Math.round(performance.now() - began)
      const tooFew = after.requests < this.#bounds.minRequests
      return { before: this.#before, after, watchedMs, tooFew, ...(worse === undefined ? {} : { worse }) }
    }
    return new Promise((resolve) => {
      const end = (judgement: Judgement): void => {
        clearInterval(timer)
        this.#answers.end(this.#since)
        resolve(judgement)
      }
      const timer = setInterval(() => {
        const judgement = judge()
        if (judgement.worse !== undefined || judgement.watchedMs >= this.#bounds.watchMs || signal.aborted)
          end(judgement)
      }, LOOK_MS)
    })
  }
}
const BASELINE_MS = 30_000
