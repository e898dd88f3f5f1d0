/** Series of users and of the router, and their text. */
import { expect, it } from 'vitest'
import { Outcome, Status } from '../../ts/binding/contract.js'
import { onBothBackends, refusal, rendered } from './backends.js'
import { openMesh } from './open-mesh.js'

onBothBackends('metrics', (binding) => {
  it('records and renders series of every kind', async () => {
    const { b, mesh } = openMesh(binding())
    const counter = b.metricOpen(mesh, 0, 'jobs_total', '{"queue":"a\\"b"}', 'Jobs done')
    const gauge = b.metricOpen(mesh, 1, 'depth', '', '')
    const histogram = b.metricOpen(mesh, 2, 'size_bytes', '{}', 'Sizes')
    for (const handle of [counter, gauge, histogram]) expect(handle, b.lastError()).toBeGreaterThan(0)
    expect(b.metricRecord(mesh, counter, 2)).toBe(0)
    expect(b.metricRecord(mesh, counter, 0.5)).toBe(0)
    expect(b.metricRecord(mesh, gauge, -3)).toBe(0)
    for (let i = 1; i <= 100; i++) expect(b.metricRecord(mesh, histogram, i)).toBe(0)
    const text = await rendered(b, mesh, 'openmetrics')
    expect(text).toContain('jobs_total{queue="a\\"b"} 2.5')
    expect(text).toMatch(/^depth -3(\.0)?$/m)
    expect(text).toMatch(/^size_bytes_count 100(\.0)?$/m)
    expect(text).toMatch(/^size_bytes_sum 5050(\.0)?$/m)
    expect(text.endsWith('# EOF\n')).toBe(true)
    const prometheus = await rendered(b, mesh, 'prometheus')
    expect(prometheus).toContain('# TYPE jobs_total counter')
    expect(JSON.parse(await rendered(b, mesh, 'json'))).toBeTruthy()
  })

  it('counts what the router does', async () => {
    const { b, mesh, define, add } = openMesh(binding())
    const service = define('orders')
    add(service, { address: 'http://a' })
    for (let i = 0; i < 5; i++) b.complete(mesh, b.pick(mesh, service, 0), i < 3 ? Outcome.Ok : Outcome.Error, 1_000)
    const text = await rendered(b, mesh, 'prometheus')
    const counted = (outcome: string) =>
      Number(new RegExp(`^linkmesh_requests_total\\{[^}]*outcome="${outcome}"[^}]*\\} ([0-9.]+)$`, 'm').exec(text)?.[1])
    expect(counted('ok'), text).toBe(3)
    expect(counted('error')).toBe(2)
    expect(text).toMatch(/^linkmesh_request_duration_seconds_count\{[^}]*\} 5(\.0)?$/m)
  })

  it.each([
    [0, '', '', 'name'],
    [0, '9a', '', 'name'],
    [0, 'a b', '', 'name'],
    [3, 'a', '', 'kind'],
    [0, 'a', '[]', 'labels'],
    [0, 'a', '{"b":1}', 'labels'],
  ])('refuses kind %i, name %j, labels %j', (kind, name, labels, field) => {
    const { b, mesh } = openMesh(binding())
    expect(b.metricOpen(mesh, kind as 0, name, labels, '')).toBe(Status.InvalidArgument)
    expect(refusal(b)?.field).toBe(field)
  })

  it('refuses values that mean nothing, and stale series', () => {
    const { b, mesh } = openMesh(binding())
    const counter = b.metricOpen(mesh, 0, 'a', '', '')
    for (const bad of [-1, Number.NaN, Number.POSITIVE_INFINITY])
      expect(b.metricRecord(mesh, counter, bad)).toBe(Status.InvalidArgument)
    expect(b.metricRecord(mesh, counter + (1 << 17), 1)).toBe(Status.StaleHandle)
    expect(b.metricOpen(mesh, 1, 'a', '', '')).toBe(Status.InvalidArgument)
  })
})
