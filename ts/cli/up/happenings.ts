/** What just happened, for people: a short list of the newest events. */
import type { Mesh } from '../../index.js'
import { INSTANCE_FIELD } from './serve-instance.js'

export interface Happening {
  /** Seconds since the start. */
  at: number
  text: string
}

const KEPT = 200
/** A loop that blocks for less is not worth a line: where there are more threads than processors it happens all the time. */
const BLOCKED_MS = 300

export class Happenings {
  private readonly list: Happening[] = []
  private readonly startedMs = performance.now()
  /** Number of all so far, those no longer kept included. */
  total = 0

  add(text: string): void {
    this.list.push({ at: (performance.now() - this.startedMs) / 1_000, text })
    this.total++
    if (this.list.length > KEPT) this.list.shift()
  }

  newest(count: number): Happening[] {
    return this.list.slice(-count)
  }

  /** Follows a mesh's breakers and instances. */
  follow(mesh: Mesh): void {
    const names = new Map<number, string>()
    const nameOf = (service: string, handle: number) => {
      let name = names.get(handle)
      if (name === undefined) {
        for (const known of mesh.closed ? [] : mesh.services())
          for (const instance of known.instances)
            names.set(instance.handle, instance.metadata[INSTANCE_FIELD] ?? instance.address ?? `#${instance.handle}`)
        name = names.get(handle) ?? `#${handle}`
        names.set(handle, name)
        if (names.size > 10_000) names.clear()
      }
      return `${name} (${service})`
    }
    mesh.on('breaker', (event) =>
      this.add(`breaker of ${nameOf(event.service, event.instance)}: ${event.from} → ${event.to}`),
    )
    mesh.on('backpressure', ({ service, level, queued, limit }) =>
      this.add(
        level === 'high'
          ? `the queue of ${service} fills: ${queued} of ${limit} wait`
          : `the queue of ${service} has emptied: ${queued} of ${limit} wait`,
      ),
    )
    mesh.on('thread-ended', (event) => this.add(`thread ${event.thread} ended`))
    const blocked = new Map<number, NodeJS.Timeout>()
    mesh.on('loop', ({ thread, blocked: isBlocked }) => {
      const waiting = blocked.get(thread)
      if (isBlocked) {
        const tell = () => {
          blocked.delete(thread)
          this.add(`the loop of thread ${thread} is blocked`)
        }
        blocked.set(thread, waiting ?? setTimeout(tell, BLOCKED_MS).unref())
      } else if (waiting === undefined) this.add(`the loop of thread ${thread} turns again`)
      else {
        clearTimeout(waiting)
        blocked.delete(thread)
      }
    })
    mesh.on('change', (event) => {
      if (event.kind === 'instance-changed') this.add(`${nameOf(event.service, event.instance)} is ${event.health}`)
      else if (event.kind === 'lease-expired') this.add(`the lease of ${nameOf(event.service, event.instance)} ran out`)
    })
  }
}
