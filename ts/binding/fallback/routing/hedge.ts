/** A second instance for a slow request. As `crates/routing/src/hedge.rs`. */
import { type Handle, type Qos, Status, type Ticket } from '../../contract.js'
import type { Rng } from '../random.js'
import type { Candidate } from './candidate.js'
import type { Membership } from './membership.js'
import { openTicket, type Picked, type Request } from './pick.js'
import { mayHedge } from './qos.js'
import { Selection } from './select.js'
import type { RouterState } from './state.js'

/** Share of answers that are there before a hedge is sent. */
const QUANTILE = 0.95
/** The quantile is worked out at most this often, microseconds. */
const LOOK_US = 100_000
/** Latencies from before this count no longer, once there are enough newer ones, microseconds. */
const WINDOW_US = 10_000_000

/** How long to wait for an answer before a second instance is asked, microseconds; undefined: it is not. */
export function hedgeAfter(membership: Membership, qos: Qos, nowUs: number): number | undefined {
  const { policy, service } = membership
  if (!policy.hedge.enabled || !mayHedge(membership.classOf(qos))) return undefined
  const { hedging, latencies } = service
  const { lookedUs } = hedging
  // A clock that stepped back looks again, too.
  if (lookedUs === undefined || nowUs < lookedUs || nowUs - lookedUs >= LOOK_US) {
    hedging.lookedUs = nowUs
    const now = latencies.copy()
    const recent = now.since(hedging.before)
    if (recent.count >= policy.hedge.minSamples) {
      hedging.afterUs = Math.max(Math.ceil(recent.quantile(QUANTILE)), 1)
      if (nowUs < hedging.beforeUs || nowUs - hedging.beforeUs >= WINDOW_US) {
        hedging.before = now
        hedging.beforeUs = nowUs
      }
    }
  }
  return hedging.afterUs
}

/** The least busy eligible instance but `first`, of the first tier that has one, while the budget lasts. */
export function hedge(state: RouterState, request: Request, first: Handle, rng: Rng, out: Picked): Ticket | Status {
  const { membership, nowUs } = request
  const { policy, service } = membership
  const { budget } = service.hedging
  const refill = { budget: policy.hedge.budget, minPerSecond: 0 }
  // Hedges are not counted as picks: what they are a share of are requests.
  const picks = service.picks + budget.granted
  if (!policy.hedge.enabled || !mayHedge(request.class) || !budget.hasToken(refill, picks, nowUs)) return Status.NoMatch
  const explained = state.explained.of(rng)
  explained.begin()
  const selection = new Selection(state.cells, membership, request.class, 0, nowUs)
  const chosen = reserveOther(state, selection, first)
  if (chosen === undefined) return Status.NoMatch
  budget.take(refill, picks, nowUs)
  return openTicket(state, request, selection, chosen, undefined, explained, true, out) ?? Status.LimitExceeded
}

function reserveOther(state: RouterState, selection: Selection, first: Handle): Candidate | undefined {
  const { membership } = selection
  for (const pool of membership.pools) {
    let best: Candidate | undefined
    let least = Number.POSITIVE_INFINITY
    for (let index = pool.from; index < pool.from + pool.length; index++) {
      if (membership.member(index).handle === first) continue
      const candidate = selection.assess(index)
      // A half-open instance is found out by requests that need it.
      if (candidate.filter !== null || candidate.probe) continue
      const load = selection.load(candidate)
      if (load < least) {
        best = candidate
        least = load
      }
    }
    if (best !== undefined && state.cells.reserve(best.handle, best.limit)) return best
  }
  return undefined
}
