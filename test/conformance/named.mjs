/** A worker that opens tables by name, says what it sees, and writes. */
import { createRequire } from 'node:module'
import { parentPort, workerData } from 'node:worker_threads'

const b = createRequire(import.meta.url)(workerData.file)
const table = b.idTableOpen(workerData.name, 8)
const arena = b.radixOpen(workerData.name)
const ring = b.ringOpen(workerData.name, 1, 1 << 16)
const record = new Uint8Array(16)
const seen = {
  value: b.idTableGetString(table, 'from-main'),
  match: b.radixMatch(arena, '/from/main', undefined),
  record: [...record.subarray(0, b.ringPop(ring, record))],
}
b.idTableSet(table, 'from-worker', 2)
b.radixInsert(arena, '/from/:worker/it', 3, 0)
for (let i = 0; i < 1000; i++) while (b.ringPush(ring, Uint8Array.of(i & 255, i >> 8)) !== 0);
parentPort.postMessage(seen)
