/** Order by key and idempotency keys across worker threads: one truth per process. */
import { once } from 'node:events'
import { afterEach, describe, expect, it } from 'vitest'
import { startWorkers, type Workers } from '../../ts/adapters/worker.js'
import { Mesh } from '../../ts/index.js'
import { NO_NATIVE } from '../support/native.js'

const file = new URL('./fixtures/delivery.mjs', import.meta.url)

interface Answer {
  alone: boolean
  inOrder: boolean
  threadId: number
  broken: boolean
}

describe.skipIf(NO_NATIVE !== '')(`delivery${NO_NATIVE === '' ? '' : ` (skipped: ${NO_NATIVE})`}`, () => {
  let mesh: Mesh
  let workers: Workers
  let names = 0

  async function start(): Promise<void> {
    mesh = await Mesh.open({ name: `delivery-${++names}` })
    workers = startWorkers(mesh, { file, count: 2, services: 3 })
    await workers.ready
  }
  afterEach(async () => {
    await workers.terminate()
    await mesh.close({ graceMs: 0 })
  })

  it('one at a time for each key, in the order of each caller, whichever threads ask and serve', async () => {
    await start()
    const mine = Array.from({ length: 100 }, (_, number) =>
      mesh.request<Answer>('orders', { caller: 0, number }, { key: `key-${number % 16}` }),
    )
    const theirs = [1, 2].map(() => mesh.request<Answer[]>('ask', 100, { timeoutMs: 20_000 }))
    const answers = [...(await Promise.all(mine)), ...(await Promise.all(theirs)).flat()]
    expect(answers.length).toBe(300)
    expect(answers.filter(({ alone, inOrder, broken }) => !alone || !inOrder || broken)).toEqual([])
    expect(new Set(answers.map(({ threadId }) => threadId)).size, 'keys are served in parallel').toBe(2)
  })

  it('a request that failed is told to the next of its key, over there', async () => {
    await start()
    const ask = (number: number, fail: boolean): Promise<Answer | undefined> =>
      mesh.request<Answer>('orders', { caller: 0, number, fail }, { key: 'k' }).catch(() => undefined)
    const answers = await Promise.all([ask(0, true), ask(1, false), ask(2, false)])
    expect(answers.map((answer) => answer?.broken)).toEqual([undefined, true, false])
  })

  it('a repeat is answered by whichever thread it comes to with what the first was answered', async () => {
    await start()
    const ask = (key: string): Promise<unknown> => mesh.request('pay', 1, { key, idempotencyKey: 'order-7' })
    const keys = Array.from({ length: 16 }, (_, n) => `k${n}`)
    const [first, ...others] = await Promise.all(keys.map(ask))
    expect(first).toMatchObject({ runs: 1, key: 'order-7' })
    for (const other of others) expect(other).toEqual(first)
    expect(await ask('later')).toEqual(first)
    const served = mesh.services().find(({ name }) => name === 'pay')
    expect(
      served?.instances.every(({ succeeded }) => succeeded > 0),
      'both threads were asked',
    ).toBe(true)
  })

  it('a repeat that is another request is refused by whichever thread it comes to', async () => {
    await start()
    const ask = (key: string, idempotencyFingerprint: string): Promise<unknown> =>
      mesh.request('pay', 1, { key, idempotencyKey: 'order-9', idempotencyFingerprint })
    await ask('first', 'a')
    const others = await Promise.allSettled(Array.from({ length: 16 }, (_, n) => ask(`k${n}`, 'b')))
    for (const other of others)
      expect(other).toMatchObject({ reason: { code: 'LM_CONFLICT', field: 'idempotencyKey' } })
    const served = mesh.services().find(({ name }) => name === 'pay')
    expect(served?.instances.map(({ failed }) => failed)).toEqual([0, 0])
  })

  it('what a thread had begun when it died is begun anew', async () => {
    await start()
    const asked = mesh.request('pay', { hang: true }, { idempotencyKey: 'order-8', timeoutMs: 20_000 })
    const index = await Promise.race(
      [0, 1].map(async (one) => {
        await once(workers.worker(one), 'message')
        return one
      }),
    )
    await workers.worker(index).terminate()
    expect(await asked).toMatchObject({ runs: 1, key: 'order-8' })
  })
})
