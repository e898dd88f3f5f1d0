/** The text that a scrape gets, read by Prometheus' own Python client: the reference parser of OpenMetrics. */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { onBothBackends, rendered } from './backends.js'

const folder = fileURLToPath(new URL('../../.cache/prometheus-client', import.meta.url))

/** Why the parser is not here, or undefined. Installs it once, aside. */
function parserMissing(): string | undefined {
  if (spawnSync('python3', ['--version']).status !== 0) return 'no python3'
  if (existsSync(folder)) return undefined
  const { status } = spawnSync(
    'python3',
    ['-m', 'pip', 'install', '--quiet', '--target', folder, 'prometheus_client==0.26.0'],
    { timeout: 60_000 },
  )
  return status === 0 ? undefined : 'prometheus_client did not install'
}

const PROGRAM = `
import json, sys
if sys.argv[1] == 'openmetrics':
    from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
else:
    from prometheus_client.parser import text_string_to_metric_families as parse
samples = [[s.name, s.labels, s.value] for family in parse(sys.stdin.read()) for s in family.samples]
json.dump(samples, sys.stdout)
`

type Sample = [name: string, labels: Record<string, string>, value: number]

function read(format: 'openmetrics' | 'prometheus', text: string): Sample[] {
  const { status, stdout, stderr } = spawnSync('python3', ['-c', PROGRAM, format], {
    input: text,
    encoding: 'utf8',
    env: { ...process.env, PYTHONPATH: folder },
  })
  if (status !== 0) throw new Error(stderr)
  return JSON.parse(stdout) as Sample[]
}

const missing = parserMissing()

describe.skipIf(missing !== undefined)(missing === undefined ? 'prometheus_client' : `skipped: ${missing}`, () => {
  onBothBackends('a scrape', (binding) => {
    it.each(['openmetrics', 'prometheus'] as const)('%s is valid, and says what happened', async (format) => {
      const b = binding()
      const mesh = b.meshOpen(JSON.stringify({ name: `scrape-${format}`, seed: 1 }))
      const service = b.serviceDefine(mesh, 'orders.create', '')
      b.instanceAdd(mesh, service, '{"address":"http://a\\\\b:1"}')
      for (let request = 0; request < 10; request++) {
        const ticket = b.pick(mesh, service, 0)
        expect(b.complete(mesh, ticket, request === 9 ? 1 : 0, 1_000)).toBe(0)
      }
      const own = b.metricOpen(mesh, 0, 'carts_total', '{"shop":"a \\"quoted\\" one"}', 'Carts\nseen')
      b.metricRecord(mesh, own, 3)
      const samples = read(format, await rendered(b, mesh, format))
      b.meshClose(mesh)

      const value = (name: string, labels: Record<string, string>) =>
        samples
          .filter(([n, has]) => n === name && Object.entries(labels).every(([label, wanted]) => has[label] === wanted))
          .reduce((sum, [, , amount]) => sum + amount, 0)
      expect(value('carts_total', { shop: 'a "quoted" one' })).toBe(3)
      expect(value('linkmesh_requests_total', { service: 'orders.create' })).toBe(10)
      expect(value('linkmesh_requests_total', { service: 'orders.create', outcome: 'ok' })).toBe(9)
      expect(value('linkmesh_request_duration_seconds_count', { service: 'orders.create' })).toBe(10)
      expect(value('linkmesh_request_duration_seconds_sum', { service: 'orders.create' })).toBeCloseTo(0.01, 6)
      // 1,000 µs lies below the edge at 2^10 µs.
      expect(value('linkmesh_request_duration_seconds_bucket', { service: 'orders.create', le: '0.001024' })).toBe(10)
      expect(value('linkmesh_request_duration_seconds_bucket', { service: 'orders.create', le: '0.000512' })).toBe(0)
    })
  })
})
