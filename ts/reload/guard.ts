/** Watches what follows from a change, and says as soon as it can whether the change may stay. */
import { setTimeout as delay } from 'node:timers/promises'
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
  readonly #watched: Watched[]
  readonly #bounds: Bounds
  readonly #look: () => Promise<void>

  /**
   * `answers`: of each the change must not make worse. `look` is called before they are judged, for those that are not noted
   * as they come; it must have been called just before this, too.
   */
  constructor(answers: readonly RecentAnswers[], bounds: Bounds, look: () => Promise<void> = async () => {}) {
    this.#watched = answers.map((of) => ({ of, before: of.last(BASELINE_MS), since: 0 }))
    this.#bounds = bounds
    this.#look = look
  }

  /** The change is made: from here on. */
  changed(): void {
    for (const one of this.#watched) one.since = one.of.begin(slowUs(one.before, this.#bounds))
  }

  /** Nobody will watch: the change was not made. */
  end(): void {
    for (const { of, since } of this.#watched) of.end(since)
  }

  /** Resolves when the time is over, or as soon as things are worse than allowed, or the signal fires. */
  async watch(signal: AbortSignal): Promise<Judgement> {
    const began = performance.now()
    try {
      for (;;) {
        await delay(LOOK_MS)
        await this.#look()
        const judgement = this.#judge(Math.round(performance.now() - began))
        if (judgement.worse !== undefined || judgement.watchedMs >= this.#bounds.watchMs || signal.aborted)
          return judgement
      }
    } finally {
      this.end()
    }
  }

  /** What is worse, or else what saw the most requests. */
  #judge(watchedMs: number): Judgement {
    const judgements = this.#watched.map(({ of, before, since }): Judgement => {
      const { window: after, slices } = of.since(since)
      const worse = worsening(before, slices, this.#bounds)
      const tooFew = after.requests < this.#bounds.minRequests
      return { before, after, watchedMs, tooFew, ...(worse === undefined ? {} : { worse }) }
    })
    const most = (a: Judgement, b: Judgement): Judgement => (b.after.requests > a.after.requests ? b : a)
    return judgements.find(({ worse }) => worse !== undefined) ?? judgements.reduce(most)
  }
}
const BASELINE_MS = 30_000

interface Watched {
  of: RecentAnswers
  before: AnswerWindow
  /** The span since the change. */
  since: number
}
