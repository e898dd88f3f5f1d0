/** A table opened by name is the same table in every thread of the process. */
import { Worker } from 'node:worker_threads'
import { expect, it } from 'vitest'
import { onNative } from './backends.js'

onNative('named tables', ({ binding: b, file }) => {
  it('are seen by a worker, and outlive it', async () => {
    const name = `named-${process.pid}`
    const table = b.idTableOpen(name, 8)
    const arena = b.radixOpen(name)
    const ring = b.ringOpen(name, 1, 1 << 16)
    b.idTableSet(table, 'from-main', 1)
    b.radixInsert(arena, '/from/main', 1, 0)
    b.ringPush(ring, Uint8Array.of(1, 2, 3))
    const worker = new Worker(new URL('./named.mjs', import.meta.url), { workerData: { file, name } })
    const ended = new Promise((resolve) => worker.once('exit', resolve))
    const seen = await new Promise((resolve, reject) => {
      worker.once('message', resolve)
      worker.once('error', reject)
    })
    expect(seen).toEqual({ value: 1, match: 1, record: [1, 2, 3] })
    expect(await ended).toBe(0)
    expect(b.idTableGetString(table, 'from-worker')).toBe(2)
    expect(b.radixMatch(arena, '/from/x/it', undefined)).toBe(3)
    const record = new Uint8Array(2)
    for (let i = 0; i < 1_000; i++) {
      expect(b.ringPop(ring, record)).toBe(2)
      expect((record[0] as number) + 256 * (record[1] as number)).toBe(i)
    }
    expect(b.ringPop(ring, record)).toBe(-1)
    for (const handle of [table, arena, ring]) b.tableClose(handle)
  })
})
