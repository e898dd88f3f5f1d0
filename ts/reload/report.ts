/** What became of a reload. */
import type { ConfigChange } from '../config/changes.js'
import type { ConfigProblem } from '../config/problem.js'
import type { Judgement } from './guard.js'
import type { ShadowReport } from './shadow.js'

export interface ReloadReport {
  /**
   * `unchanged`: nothing differs. `refused`: the config is wrong, nothing was changed. `checked`: a dry run.
   * `applied`: it stays. `rolled-back`: what ran before runs again.
   */
  verdict: 'unchanged' | 'refused' | 'checked' | 'applied' | 'rolled-back'
  changes: ConfigChange[]
  /** Why it was refused. */
  problems: readonly ConfigProblem[]
  /** What the recorded picks would have become; null where there was nothing to evaluate. */
  shadow: ShadowReport | null
  /** What was seen after it was applied. */
  watched: Judgement | null
  /** Why it was rolled back. */
  reason?: string
}

export const NOTHING = { changes: [], problems: [], shadow: null, watched: null }
