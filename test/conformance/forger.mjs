/** A worker that calls the addon with random and stale handles, and counts what it answers. */
import { createRequire } from 'node:module'
import { parentPort, workerData } from 'node:worker_threads'

const { file, seed, calls, mesh: meshName } = workerData
const b = createRequire(import.meta.url)(file)

let state = seed >>> 0
/** xorshift32: repeatable. */
function random() {
  state ^= state << 13
  state ^= state >>> 17
  state ^= state << 5
  state >>>= 0
  return state
}

/** Random bits, small numbers, near misses of what is open, and things that are no handle at all. */
function handle(open) {
  switch (random() % 8) {
    case 0:
      return random()
    case 1:
      return random() % 64
    case 2:
      return open + (1 << 17) * (1 + (random() % 3))
    case 3:
      return open + 1 + (random() % 5)
    case 4:
      return -(random() % 1000)
    case 5:
      return random() / 3
    case 6:
      return Number.NaN
    default:
      return random() * 2 ** 21 + random()
  }
}

const table = b.idTableOpen('forger-table', 8)
const arena = b.radixOpen('forger-arena')
const ring = b.ringOpen('forger-ring', 1, 1 << 12)
const mesh = meshName === undefined ? 0 : b.meshAttach(meshName)
const service = mesh > 0 ? b.serviceFind(mesh, 'forged') : 0
const out = new Uint32Array(8)
const bytes = new Uint8Array(8)
const grants = new Float64Array(16)
const open = new Set([table, arena, ring])
const openMesh = mesh

const tableCalls = [
  (h) => b.idTableGetString(h, 'k'),
  (h) => b.idTableGetNumber(h, 7),
  (h) => b.idTableGetBytes(h, bytes),
  (h) => b.idTableGetManyU32(h, out, new Uint32Array(8)),
  (h) => b.idTableGetManyStrings(h, 'ab', new Uint32Array([1, 1]), out),
  (h) => b.radixMatch(h, '/a/b', out),
  (h) => b.radixLongestPrefix(h, 'abc'),
  (h) => b.ringPush(h, bytes),
  (h) => b.ringPop(h, bytes),
]
const coldTableCalls = [
  (h) => b.idTableSet(h, 'k', 1),
  (h) => b.idTableDelete(h, 'k'),
  (h) => b.idTableSize(h),
  (h) => b.radixInsert(h, '/a', 1, 0),
  (h) => b.ringLength(h),
  (h) => b.tableClose(h),
]
/** Calls whose second argument is the forged one. */
const meshCalls = [
  (h) => b.pick(openMesh, h, 1),
  (h) => b.complete(openMesh, h, 0, 10),
  (h) => b.retry(openMesh, h, 1),
  (h) => b.laneCommit(openMesh, h, 4),
  (h) => b.laneRelease(openMesh, h, 4),
  (h) => b.metricRecord(openMesh, h, 1),
  (h) => b.pick(h, service, 1),
  (h) => b.complete(h, 1, 0, 10),
  (h) => b.inboxPoll(h),
]
const coldMeshCalls = [
  (h) => b.instanceRemove(openMesh, h),
  (h) => b.instanceRenew(openMesh, h, 10),
  (h) => b.connectionClose(openMesh, h),
  (h) => b.waitCancel(openMesh, h),
  (h) => b.wait(openMesh, h, 1, 1),
  (h) => b.orderEnter(openMesh, h, 'k'),
  (h) => b.orderLeave(h, service, 'k', 1, 1),
  (h) => b.ledgerBegin(openMesh, h, 'k'),
  (h) => b.ledgerSettle(h, service, 'k', 1, bytes),
  (h) => b.meshNow(h),
  (h) => b.grants(h, grants),
]

const answers = {}
let untyped = 0
let accepted = 0
const statuses = new Set([-1, -2, -3, -4, -5, -6, -7, -8, -9, -10, -11, -12, -13, -15, -16, -17])
const onMesh = mesh > 0
for (let i = 0; i < calls; i++) {
  const cold = i % 16 === 0
  const forTable = !onMesh || i % 2 === 0
  const list = forTable ? (cold ? coldTableCalls : tableCalls) : cold ? coldMeshCalls : meshCalls
  const forged = handle(forTable ? table : service)
  // A forged handle that happens to be a true one is no forgery.
  if (open.has(forged >>> 0) || forged >>> 0 === openMesh || forged >>> 0 === service) continue
  const answer = list[random() % list.length](forged)
  answers[answer] = (answers[answer] ?? 0) + 1
  if (typeof answer !== 'number' || Number.isNaN(answer)) untyped++
  else if (answer >= 0) accepted++
  else if (!statuses.has(answer)) untyped++
}

const intact =
  b.idTableSet(table, 'alive', 7) === 0 &&
  b.idTableGetString(table, 'alive') === 7 &&
  b.radixInsert(arena, '/alive', 8, 0) === 0 &&
  b.radixMatch(arena, '/alive', undefined) === 8
for (const kept of open) b.tableClose(kept)
if (onMesh) b.meshClose(mesh)
parentPort.postMessage({ answers, untyped, accepted, intact })
