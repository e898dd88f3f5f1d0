/** Keys of the terminal view: choose an instance, slow, kill or revive it, quit. */
import type { Fleet } from './fleet.js'
import type { Happenings } from './happenings.js'

/** How long `b` blocks an event loop. */
const BLOCK_MS = 2_000

export class Keys {
  private index = 0

  constructor(
    private readonly fleet: Fleet,
    private readonly happenings: Happenings,
    private readonly redraw: () => void,
    private readonly quit: () => void,
    private readonly reload: () => void,
  ) {}

  /** Id of the chosen instance. */
  get chosen(): string | undefined {
    return this.fleet.instances[this.index]?.id
  }

  /** One key press as the terminal sends it. */
  press(key: string): void {
    const count = this.fleet.instances.length
    if (key === 'q' || key === '\u0003') this.quit()
    if (key === 'l') this.reload()
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
    if (key === 's') {
      const slow = instance.state !== 'slow'
      this.fleet.slow(id, slow)
      this.happenings.add(slow ? `you slowed ${id}` : `you let ${id} run at full speed`)
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

  private settle(work: Promise<void>): void {
    work.then(this.redraw, (error: Error) => {
      this.happenings.add(error.message)
      this.redraw()
    })
  }
}
