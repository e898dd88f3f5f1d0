/** A table that its owner forgot gives its memory back when the garbage collector finds it. */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, it } from 'vitest'
import { FingerprintedIdTable } from '../../ts/tables.js'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

const turn = () => new Promise((resolve) => setImmediate(resolve))

/** Collects until `done`. Between two looks lies a turn of the event loop: a `deref` keeps its target for the rest of its own. */
async function collectUntil(done: () => boolean): Promise<void> {
  for (let turns = 0; turns < 200; turns++) {
    await turn()
    collect()
    await turn()
    if (done()) return
  }
}

it('closes a forgotten table, and only that', async () => {
  const name = `gc-${process.pid}`
  const forget = () => {
    const table = new FingerprintedIdTable({ name })
    table.set('k', 1)
    return new WeakRef(table)
  }
  const forgotten = forget()
  using kept = new FingerprintedIdTable({ name: `${name}-kept` })
  kept.set('k', 2)
  await collectUntil(() => forgotten.deref() === undefined)
  expect(forgotten.deref()).toBeUndefined()
  // The name is free again once the finalizer has run: a table opened now is a new, empty one.
  await collectUntil(() => {
    using again = new FingerprintedIdTable({ name })
    return again.get('k') === -1
  })
  using again = new FingerprintedIdTable({ name })
  expect(again.get('k')).toBe(-1)
  expect(kept.get('k')).toBe(2)
})
