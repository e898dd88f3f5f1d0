import { expect, it } from 'vitest'
import { OpenTickets } from '../../ts/mesh/open-tickets.js'

const ticket = (generation: number, slot: number): number => generation * 2 ** 20 + slot

it('knows open tickets only, each generation of a slot for itself, at any slot', () => {
  const open = new OpenTickets()
  for (const slot of [1, 63, 64, 65, 5_000, 2 ** 20 - 1]) {
    const [old, young] = [ticket(2 ** 32 - 2, slot), ticket(2 ** 32 - 1, slot)]
    expect(open.instance(old)).toBe(0)
    open.add(old, 7)
    expect([open.instance(old), open.instance(young)]).toEqual([7, 0])
    open.add(young, 2 ** 31 - 1)
    expect([open.remove(old), open.instance(young)]).toEqual([0, 2 ** 31 - 1])
    expect([open.remove(young), open.remove(young), open.instance(young)]).toEqual([2 ** 31 - 1, 0, 0])
  }
  for (const forged of [0, -1, Number.NaN, Number.POSITIVE_INFINITY, 0.5, 2 ** 60])
    expect(open.instance(forged)).toBe(0)
})
