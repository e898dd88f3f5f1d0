/**
 * Faults on purpose, by a seed: instances are killed in the middle of their work, revived, and slowed.
 *
 * Only an instance whose service has another one is touched: the question is whether the mesh routes around the fault.
 */
import { seededRandom } from '../load/random.js'
import type { Fleet, FleetInstance } from './fleet.js'
import type { Happenings } from './happenings.js'

const STEP_MS = 400

export class Chaos {
  private readonly random: () => number
  private timer: NodeJS.Timeout | undefined
  private work: Promise<unknown> = Promise.resolve()
  private victim: FleetInstance | undefined
  private steps = 0
  /** Instances killed so far. */
  kills = 0

  constructor(
    private readonly fleet: Fleet,
    private readonly happenings: Happenings,
    seed: number,
  ) {
    this.random = seededRandom(seed ^ 0xc4a0_5000)
  }

  start(): void {
    this.timer = setInterval(() => {
      this.work = this.work
        .then(() => this.step())
        .catch((error: Error) => this.happenings.add(`chaos: ${error.message}`))
    }, STEP_MS)
  }

  /** Stops, and brings back what is down. */
  async stop(): Promise<void> {
    clearInterval(this.timer)
    await this.work
    if (this.victim) await this.fleet.revive(this.victim.id)
    this.victim = undefined
  }

  private async step(): Promise<void> {
    if (this.victim) {
      const { id } = this.victim
      this.victim = undefined
      await this.fleet.revive(id)
      this.happenings.add(`chaos: ${id} is back`)
      return
    }
    const victim = this.choose()
    if (!victim) return
    this.victim = victim
    // Kills first: a short run has at least one.
    if (this.steps++ % 2 === 0) {
      this.kills++
      this.happenings.add(`chaos: ${victim.id} killed`)
      await this.fleet.kill(victim.id)
    } else {
      this.happenings.add(`chaos: ${victim.id} slowed`)
      this.fleet.fault(victim.id, 'slow')
    }
  }

  private choose(): FleetInstance | undefined {
    const up = this.fleet.instances.filter((one) => one.state === 'up')
    // Where there are several processes, what is killed is one of them: the others carry on.
    const apart = (one: FleetInstance, other: FleetInstance): boolean =>
      one.node === undefined ? other.thread !== one.thread : other.node !== one.node
    const able = up.filter((one) => up.some((other) => other.service === one.service && apart(one, other)))
    const candidates =
      able.length > 0
        ? able
        : up.filter((one) => up.some((other) => other.service === one.service && other.id !== one.id))
    return candidates[Math.floor(this.random() * candidates.length)]
  }
}
