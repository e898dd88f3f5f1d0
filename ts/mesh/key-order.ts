/**
 * Requests to a service with `ordering: 'key'`: those with one key come one after the other. The turns are the router's,
 * for all threads of the process; this side keeps who waits for one.
 */
import { Scratch, Status } from '../binding/contract.js'
import { isGivenUp } from '../dead-letters/give-up.js'
import { LinkmeshError } from '../errors.js'
import type { Call } from './call.js'
import { nowMs } from './clock.js'
import type { Core } from './core.js'
import type { Dispatcher } from './dispatcher.js'
import type { Guarantees } from './guarantees.js'

export class KeyOrder {
  readonly #core: Core
  readonly #dispatcher: Dispatcher

  constructor(core: Core, dispatcher: Dispatcher) {
    this.#core = core
    this.#dispatcher = dispatcher
  }

  /** Starts the first attempt when the request's turn has come. */
  enter(call: Call, guarantees: Guarantees): void {
    const { parent, service } = call
    const key = call.key as string
    if (parent !== undefined && parent.key === key && parent.service === service.name) {
      const words = `a handler of ${service.name} asks ${service.name} with the key of its own request, and would wait for itself`
      this.#dispatcher.fail(call, new LinkmeshError('LM_CONFLICT', words, { field: 'key' }))
      return
    }
    const { binding, handle, scratch, deadlines } = this.#core
    const id = binding.orderEnter(handle, service.handle, key)
    if (id < 0) {
      this.#refused(call, guarantees, id)
      return
    }
    guarantees.turn = id
    guarantees.service = service.handle
    guarantees.orderBroken = scratch[Scratch.OrderBroken] === 1
    if (scratch[Scratch.Entered] === 0) {
      this.#dispatcher.attempt(call)
      return
    }
    if (call.deadline === Number.POSITIVE_INFINITY) call.deadline = nowMs() + call.timeoutMs
    deadlines.add(call)
    this.#dispatcher.waits.park(id, (broken) => {
      guarantees.orderBroken = broken === 1
      this.#dispatcher.attempt(call)
    })
  }

  /** The request has its answer: the next of its key begins. */
  leave(call: Call, { turn, service }: Guarantees, error: unknown): void {
    const { waits } = this.#dispatcher
    waits.unpark(turn)
    const broken = error !== undefined && isGivenUp(error)
    this.#core.binding.orderLeave(this.#core.handle, service, call.key as string, turn, broken ? 1 : 0)
    // The next may be of this very thread.
    if (waits.size > 0) waits.takeSoon()
  }

  #refused(call: Call, guarantees: Guarantees, status: number): void {
    const { name, handle } = call.service
    let error: unknown = this.#core.error(status, name)
    if (status === Status.StaleHandle) {
      // The service was removed, and perhaps defined again under the same name.
      this.#dispatcher.forget(name)
      try {
        const again = this.#dispatcher.service(name)
        if (again.handle !== handle) {
          call.service = again
          if (again.ordered) this.enter(call, guarantees)
          else this.#dispatcher.attempt(call)
          return
        }
      } catch (cause) {
        error = cause
      }
    }
    this.#dispatcher.fail(call, error)
  }
}
