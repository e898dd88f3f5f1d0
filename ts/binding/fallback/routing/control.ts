/** What an operator does to one instance by hand, as `crates/routing/src/control.rs`. */
import { Breaker, type ControlOrder, type Handle, Status } from '../../contract.js'
import { Failure, invalid } from '../edge.js'
import { staleHandle } from '../registry.js'
import { outOfRange } from '../registry-validate.js'
import type { Transition } from './breaker.js'
import { LONGEST_EJECTION_US } from './look.js'
import { grantAll } from './queue.js'
import type { RouterState } from './state.js'

const ORDERS: ReadonlySet<ControlOrder> = new Set(['eject', 'open-breaker', 'close-breaker', 'reset'])

/** Throws `StaleHandle`, `InvalidArgument` for an order that is none or too long, `Conflict` without a breaker. */
export function control(state: RouterState, instance: Handle, order: ControlOrder, forMs: number, nowUs: number): void {
  if (!ORDERS.has(order)) throw invalid('order', 'order is eject, open-breaker, close-breaker or reset')
  if (order === 'eject' && !(Number.isFinite(forMs) && forMs >= 0))
    throw invalid('forMs', 'forMs is a number of at least 0')
  state.logChanges()
  const record = state.registry.instance(instance)
  const cell = state.cells.state(instance)
  if (record === undefined || cell === undefined) throw staleHandle('instance')
  const { breaker } = cell
  switch (order) {
    case 'eject': {
      const forUs = Math.trunc(forMs * 1_000)
      if (forUs > LONGEST_EJECTION_US) throw outOfRange('forMs', 0, LONGEST_EJECTION_US / 1_000, Math.trunc(forMs))
      cell.ejectedUntilUs = forUs === 0 ? 0 : nowUs + forUs
      cell.warmingSinceUs = nowUs + forUs
      break
    }
    case 'open-breaker':
      if (state.memberships.get(record.service)?.policy.breaker.enabled !== true)
        throw new Failure(Status.Conflict, 'the policy of the service says policy.breaker.enabled: false')
      changed(state, record.service, instance, breaker.force(Breaker.Open), nowUs)
      break
    case 'close-breaker':
      changed(state, record.service, instance, breaker.force(Breaker.Closed), nowUs)
      break
    case 'reset':
      changed(state, record.service, instance, breaker.force(Breaker.Closed), nowUs)
      cell.ejectedUntilUs = 0
      cell.rejectedUntilUs = 0
      cell.latency.reset()
      state.cells.setLatencyUs(instance, 0)
      cell.failing.reset()
      cell.recent.reset()
      cell.warmingSinceUs = nowUs
      break
  }
  grantAll(state, nowUs)
}

function changed(
  state: RouterState,
  service: Handle,
  instance: Handle,
  transition: Transition | undefined,
  nowUs: number,
): void {
  if (transition === undefined) return
  state.breakerChanged(service, instance, transition, nowUs)
  state.logChanges()
}
