/** Random steps over the order of keys and the ledger of idempotency keys, for the differential fuzz. */
import { LedgerEntry, Scratch } from '../../ts/binding/contract.js'
import type { Pair } from './pair.js'
import type { Random } from './random.js'

const KEYS = ['a', 'b', 'ü😀', 'k'.repeat(300)]

interface Held {
  readonly service: number
  readonly key: string
  readonly id: number
}

export class DeliverySteps {
  readonly #pair: Pair
  readonly #random: Random
  readonly #mesh: number
  readonly #turns: Held[] = []
  readonly #begun: Held[] = []

  constructor(pair: Pair, random: Random, mesh: number) {
    this.#pair = pair
    this.#random = random
    this.#mesh = mesh
  }

  step(service: number): void {
    const r = this.#random
    const key = r.chance(0.02) ? 'x'.repeat(5_000) : r.of(KEYS)
    switch (r.below(4)) {
      case 0: {
        const id = this.#pair.call('orderEnter', this.#mesh, service, key)
        this.#compareScratch(id, 'orderEnter', Scratch.Entered, Scratch.OrderBroken)
        if (id > 0) this.#turns.push({ service, key, id })
        break
      }
      case 1: {
        const turn = this.#take(this.#turns)
        if (turn !== undefined)
          this.#pair.call('orderLeave', this.#mesh, turn.service, turn.key, turn.id, r.chance(0.3) ? 1 : 0)
        break
      }
      case 2: {
        const id = this.#pair.call('ledgerBegin', this.#mesh, service, key)
        const entry = this.#compareScratch(id, 'ledgerBegin', Scratch.Entered)
        if (id > 0 && entry === LedgerEntry.First) this.#begun.push({ service, key, id })
        const [native, fallback] = [this.#pair.native, this.#pair.fallback].map((binding) =>
          Array.from(binding.ledgerResult(this.#mesh, service, key) ?? [-1]),
        )
        this.#pair.same('ledgerResult', native, fallback)
        break
      }
      default: {
        const held = this.#take(this.#begun)
        if (held === undefined) break
        if (r.chance(0.2)) this.#pair.call('ledgerForget', this.#mesh, held.service, held.key, held.id)
        else {
          const result = new Uint8Array(r.below(r.of([4, 2_000]))).fill(r.below(256))
          this.#pair.call('ledgerSettle', this.#mesh, held.service, held.key, held.id, result)
        }
      }
    }
  }

  /** The words that a call leaves, when it was not refused. What the first of them says. */
  #compareScratch(id: number, name: string, ...words: number[]): number | undefined {
    if (id < 0) return undefined
    const read = (scratch: Uint32Array): (number | undefined)[] => words.map((word) => scratch[word])
    const [native, fallback] = [read(this.#pair.native.scratch()), read(this.#pair.fallback.scratch())]
    this.#pair.same(`scratch after ${name}`, native, fallback)
    this.#pair.note(`${name} entered ${fallback.join(' ')}`)
    return fallback[0]
  }

  /** Now and then one that was left or settled before. */
  #take(list: Held[]): Held | undefined {
    const at = this.#random.below(Math.max(1, list.length))
    return this.#random.chance(0.1) ? list[at] : list.splice(at, 1)[0]
  }
}
