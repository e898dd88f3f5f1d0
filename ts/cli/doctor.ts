/** `linkmesh doctor`: which backend runs and why, and a self-test of it. */
import { Worker } from 'node:worker_threads'
import { type Binding, Status } from '../binding/contract.js'
import { loadBinding } from '../binding/index.js'
import { Mesh, Outcome } from '../index.js'
import { FingerprintedIdTable } from '../tables.js'
import { nodeCheck } from './doctor-node.js'
import { EXIT } from './output.js'

interface Check {
  name: string
  /** null: does not apply to this backend. */
  ok: boolean | null
  detail: string
}

const REPLY_TIMEOUT_MS = 5_000

export async function doctor(options: { json?: boolean }): Promise<void> {
  const { binding, backend } = loadBinding()
  const info = binding.info()
  const checks = await runChecks(binding, info.capabilities)
  const report = {
    backend,
    version: info.version,
    cpu: info.cpu,
    capabilities: info.capabilities,
    runtime: { node: process.version, napi: process.versions.napi, platform: process.platform, arch: process.arch },
    checks,
    ok: checks.every((check) => check.ok !== false),
  }
  if (!report.ok) process.exitCode = EXIT.failed
  if (options.json) {
    process.stdout.write(`${JSON.stringify(report)}\n`)
    return
  }
  const lines = [
    `linkmesh ${info.version} on the ${backend.kind} backend: ${backend.reason}`,
    `Node ${process.version} (Node-API ${process.versions.napi}), ${process.platform} ${process.arch}`,
    `CPU paths in use: ${info.cpu.join(', ')}`,
    `capabilities: ${info.capabilities.join(', ') || 'none beyond one thread'}`,
    ...(backend.kind === 'fallback'
      ? [
          'To get the native backend: install Rust (https://rustup.rs) and run `npm run build`, or install the platform package.',
        ]
      : []),
    '',
    ...checks.map(
      ({ name, ok, detail }) => `${ok === null ? 'skipped' : ok ? 'ok     ' : 'FAILED '}  ${name}: ${detail}`,
    ),
  ]
  process.stdout.write(`${lines.join('\n')}\n`)
}

async function runChecks(binding: Binding, capabilities: readonly string[]): Promise<Check[]> {
  const mesh = await Mesh.open({ name: 'doctor' })
  try {
    return [
      await check('table', async () => tableCheck()),
      await check('pick and complete', async () => routeCheck(mesh)),
      await check('request', () => requestCheck(mesh)),
      capabilities.includes('workers')
        ? await check('lane to a worker thread and back', () => laneCheck(mesh))
        : { name: 'lane to a worker thread and back', ok: null, detail: 'this backend lives in one thread' },
      capabilities.includes('workers')
        ? await check('two nodes over QUIC', nodeCheck)
        : { name: 'two nodes over QUIC', ok: null, detail: 'the fallback has no QUIC' },
      await check('panic containment', async () => panicCheck(binding)),
    ]
  } finally {
    await mesh.close({ graceMs: 0 })
  }
}

async function check(name: string, run: () => Promise<string>): Promise<Check> {
  try {
    return { name, ok: true, detail: await run() }
  } catch (error) {
    return { name, ok: false, detail: (error as Error).message }
  }
}

/** Fails with the words unless `condition` holds. */
function expect(condition: boolean, words: string): void {
  if (!condition) throw new Error(words)
}

function tableCheck(): string {
  const table = new FingerprintedIdTable()
  const keys = 10_000
  for (let key = 0; key < keys; key++) table.set(`key-${key}`, key)
  for (let key = 0; key < keys; key++)
    expect(table.get(`key-${key}`) === key, `key-${key} came back as ${table.get(`key-${key}`)}`)
  expect(table.get('key-x') === -1, 'a key that was never set was found')
  table.close()
  return `${keys} keys set and found again`
}

function routeCheck(mesh: Mesh): string {
  const registrations = [1, 2].map((weight) =>
    mesh.register('doctor.route', { address: `http://127.0.0.1:${weight}`, weight }),
  )
  const route = mesh.route('doctor.route')
  const picked = new Map<number, number>()
  for (let round = 0; round < 1_000; round++) {
    const ticket = route.pick()
    const { handle } = route.instance(ticket)
    picked.set(handle, (picked.get(handle) ?? 0) + 1)
    route.complete(ticket, Outcome.Ok, 100)
  }
  for (const registration of registrations) registration.close()
  expect(picked.size === 2, `${picked.size} of 2 instances were picked`)
  return `1000 picks over 2 instances: ${[...picked.values()].join(' and ')}`
}

async function requestCheck(mesh: Mesh): Promise<string> {
  const registration = mesh.service('doctor.echo', (body: { n: number }) => ({ n: body.n + 1 }))
  const reply = await mesh.request<{ n: number }>('doctor.echo', { n: 41 }, { timeoutMs: REPLY_TIMEOUT_MS })
  registration.close()
  expect(reply.n === 42, `the reply was ${JSON.stringify(reply)}`)
  return 'a request was answered in this thread'
}

async function laneCheck(mesh: Mesh): Promise<string> {
  const worker = new Worker(new URL('./doctor-worker.js', import.meta.url), { workerData: { name: mesh.name } })
  try {
    await new Promise<void>((resolve, reject) => {
      worker.once('message', () => resolve())
      worker.once('error', reject)
    })
    const text = 'lane'.repeat(1_000)
    const rounds = 100
    const started = performance.now()
    for (let round = 0; round < rounds; round++) {
      const reply = await mesh.request<string>('doctor.lane', text, { timeoutMs: REPLY_TIMEOUT_MS })
      expect(reply === text, `round ${round} came back changed`)
    }
    return `${rounds} round trips of ${text.length} bytes, ${(((performance.now() - started) * 1_000) / rounds).toFixed(0)} µs each`
  } finally {
    await worker.terminate()
  }
}

function panicCheck(binding: Binding): string {
  const status = binding.selfTestPanic()
  expect(status === Status.Internal, `a panic came back as status ${status}`)
  const { place } = JSON.parse(binding.lastError() || '{}') as { place?: string }
  return `a panic was caught at the edge${place ? ` (${place})` : ''}`
}
