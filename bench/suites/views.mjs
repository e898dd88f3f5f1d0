/** Reading what the engine knows, load and state of an instance, from JavaScript without a call. */
import { race } from '../harness/measure.mjs'
import { addon, built } from '../harness/native.mjs'
import { report, timingLines } from '../harness/report.mjs'

const INSTANCES = 64
const BUDGET_NS = 5

export async function run({ random, rounds, roundMs }) {
  const { InstanceWord, INSTANCE_WORDS } = await built('binding/contract.js')
  const binding = await addon()
  const mesh = binding.meshOpen(JSON.stringify({ name: 'bench-views', seed: 1 }))
  const service = binding.serviceDefine(mesh, 'orders', '')
  const handles = Array.from({ length: INSTANCES }, (_, index) =>
    binding.instanceAdd(mesh, service, JSON.stringify({ address: `http://10.0.0.${index + 1}:80`, weight: index + 1 })),
  )
  const { instances } = binding.views(mesh)
  // The low 17 bits of a handle are its slot.
  const offsets = Int32Array.from(handles, (handle) => (handle & 0x1ffff) * INSTANCE_WORDS)
  const byHandle = new Map(handles.map((handle, index) => [handle, { weight: index + 1, state: 0 }]))

  const digest = (count, first) => {
    let sum = 0
    for (let n = 0; n < count; n++) sum += ((first + n) & (INSTANCES - 1)) + 1
    return sum
  }
  const read = (count, first) => {
    let sum = 0
    for (let n = 0; n < count; n++) sum += instances[offsets[(first + n) & (INSTANCES - 1)] + InstanceWord.Weight]
    return sum
  }
  /** Two words that belong together: read again when a writer was between. */
  const readConsistent = (count, first) => {
    let sum = 0
    for (let n = 0; n < count; n++) {
      const at = offsets[(first + n) & (INSTANCES - 1)]
      for (;;) {
        const epoch = Atomics.load(instances, at + InstanceWord.Epoch)
        const weight = instances[at + InstanceWord.Weight]
        const limit = instances[at + InstanceWord.Limit]
        if ((epoch & 1) === 0 && Atomics.load(instances, at + InstanceWord.Epoch) === epoch) {
          sum += limit < 0 ? 0 : weight
          break
        }
      }
    }
    return sum
  }
  const fromMap = (count, first) => {
    let sum = 0
    for (let n = 0; n < count; n++) sum += byHandle.get(handles[(first + n) & (INSTANCES - 1)]).weight
    return sum
  }
  const called = (count, first) => {
    let sum = 0
    for (let n = 0; n < count; n++) {
      sum += JSON.parse(binding.instanceInfo(mesh, handles[(first + n) & (INSTANCES - 1)])).weight
    }
    return sum
  }
  const contenders = [
    { name: 'view, one word', run: read },
    { name: 'view, two words and the epoch', run: readConsistent },
    { name: 'Map of objects', run: fromMap },
    { name: 'instanceInfo() as JSON', run: called },
  ]
  report({
    title: 'reading the weight of one of 64 instances',
    unit: 'ns',
    better: 'lower',
    subject: 'view, one word',
    lines: timingLines(await race(contenders, digest, { random, rounds, roundMs })),
    budget: BUDGET_NS,
  })
  binding.meshClose(mesh)
}
