/** Forged and stale handles and tickets are refused with a typed status, whoever sends them; nothing else happens. */
import { Worker } from 'node:worker_threads'
import { expect, it } from 'vitest'
import { Status } from '../../ts/binding/contract.js'
import { onBothBackends, onNative } from './backends.js'
import { fuzzSeed, Random } from './random.js'

interface Report {
  answers: Record<string, number>
  untyped: number
  accepted: number
  intact: boolean
}

function forge(file: string, seed: number, calls: number, mesh: string | undefined): Promise<Report> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL('./forger.mjs', import.meta.url), { workerData: { file, seed, calls, mesh } })
    worker.once('message', resolve)
    worker.once('error', reject)
    worker.once('exit', (code) => reject(new Error(`the worker ended with ${code} and no report`)))
  })
}

onNative('a million forged handles from three workers', ({ binding, file }) => {
  it('each get a typed status', { timeout: 120_000 }, async () => {
    const seed = fuzzSeed()
    console.log(`forged handles: seed ${seed}`)
    const mesh = binding.meshOpen(JSON.stringify({ name: `forged-${process.pid}`, seed: 1 }))
    expect(mesh).toBeGreaterThan(0)
    const service = binding.serviceDefine(mesh, 'forged', '')
    expect(binding.instanceAdd(mesh, service, '{"address":"http://10.0.0.1:1"}')).toBeGreaterThan(0)
    try {
      const reports = await Promise.all([1, 2, 3].map((i) => forge(file, seed + i, 334_000, `forged-${process.pid}`)))
      for (const report of reports) {
        expect(report.untyped, JSON.stringify(report.answers)).toBe(0)
        expect(report.accepted, JSON.stringify(report.answers)).toBe(0)
        expect(report.answers[Status.StaleHandle] ?? 0).toBeGreaterThan(10_000)
        expect(report.intact).toBe(true)
      }
      expect(binding.pick(mesh, service, 0)).toBeGreaterThan(0)
    } finally {
      binding.meshClose(mesh)
    }
  })
})

onBothBackends('stale handles', (binding) => {
  it('never name what took their slot', () => {
    const b = binding()
    const random = new Random(fuzzSeed())
    const open = new Map<number, number>()
    const closed: number[] = []
    for (let i = 0; i < 20_000; i++) {
      if (open.size < 50 && random.chance(0.55)) {
        const handle = b.idTableOpen(null, 1)
        expect(open.has(handle)).toBe(false)
        b.idTableSet(handle, 'mark', i)
        open.set(handle, i)
      } else if (open.size > 0) {
        const handle = random.of([...open.keys()])
        expect(b.idTableGetString(handle, 'mark')).toBe(open.get(handle))
        expect(b.tableClose(handle)).toBe(0)
        open.delete(handle)
        closed.push(handle)
      }
      if (closed.length > 0) {
        // Only the 2^14 latest generations of a slot tell themselves apart.
        const stale = random.of(closed.slice(-1_000))
        if (!open.has(stale)) expect(b.idTableGetString(stale, 'mark')).toBe(Status.StaleHandle)
      }
    }
    for (const handle of open.keys()) b.tableClose(handle)
  })
})
