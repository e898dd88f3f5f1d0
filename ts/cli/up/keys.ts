/** Keys of the terminal view: choose an instance, do something to it, redrive, reload, quit. */
import type { Fleet } from './fleet.js'
import type { Happenings } from './happenings.js'
import type { Fault } from './serve-instance.js'

/** How long `b` blocks an event loop. */
const BLOCK_MS = 2_000
/** How long `e` keeps an instance out. */
const EJECT_MS = 10_000

/** What keys do besides the faults of the fleet. */
export interface KeyOrders {
  quit(): void
  /** Reloads the config. */
  reload(): void
  /** Keeps an instance out for so long. */
  eject(service: string, id: string, forMs: number): Promise<unknown>
  /** Sends every dead letter again; resolves to what became of them, in words. */
  redrive(): Promise<string>
}

export class Keys {
  private index = 0

  constructor(
    private readonly fleet: Fleet,
    private readonly happenings: Happenings,
    private readonly redraw: () => void,
    private readonly orders: KeyOrders,
  ) {}

  /** Id of the chosen instance. */
  get chosen(): string | undefined {
    return this.fleet.instances[this.index]?.id
  }

  /** One key press as the terminal sends it. */
  press(key: string): void {
    const count = this.fleet.instances.length
    if (key === 'q' || key === '\u0003') this.orders.quit()
    if (key === 'l') this.orders.reload()
    if (key === 'd') this.settle(this.orders.redrive().then((text) => this.happenings.add(text)))
    if (count === 0) return
    if (key === '\u001b[A') this.index = (this.index + count - 1) % count
    else if (key === '\u001b[B') this.index = (this.index + 1) % count
    else if (/^\d$/.test(key)) this.index = Math.min(count - 1, (Number(key) + 9) % 10)
    else this.act(key)
    this.redraw()
  }

  private act(key: string): void {
    const instance = this.fleet.instances[this.index]
    if (!instance) return
    const { id } = instance
    if (key === 's') this.fault(id, instance.state === 'slow' ? undefined : 'slow', 'you slowed')
    else if (key === 'f') this.fault(id, instance.state === 'failing' ? undefined : 'failing', 'you broke')
    else if (key === 'e') {
      this.happenings.add(`you ejected ${id} for ${EJECT_MS / 1_000} s`)
      this.settle(this.orders.eject(instance.service, id, EJECT_MS))
      setTimeout(() => this.happenings.add(`the ejection of ${id} is over`), EJECT_MS).unref()
    } else if (key === 'b') {
      this.happenings.add(`you blocked the loop of ${id} for ${BLOCK_MS / 1_000} s`)
      this.fleet.block(id, BLOCK_MS)
    } else if (key === 'k') {
      this.happenings.add(`you killed ${id}`)
      this.settle(this.fleet.kill(id))
    } else if (key === 'r') {
      this.happenings.add(`you revived ${id}`)
      this.settle(this.fleet.revive(id))
    }
  }

  private fault(id: string, fault: Fault | undefined, words: string): void {
    this.fleet.fault(id, fault)
    this.happenings.add(fault === undefined ? `you let ${id} run as it should` : `${words} ${id}`)
  }

  private settle(work: Promise<unknown>): void {
    work.then(
      () => this.redraw(),
      (error: Error) => {
        this.happenings.add(error.message)
        this.redraw()
      },
    )
  }
}
