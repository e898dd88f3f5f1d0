/** Opening, joining, leaving and the clock of a mesh. */
import { expect, it } from 'vitest'
import { Status } from '../../ts/binding/contract.js'
import { onBothBackends, refusal } from './backends.js'
import { openMesh } from './open-mesh.js'

onBothBackends('mesh', (binding) => {
  it('is one per name, joined by attach, and ends with its opener', () => {
    const b = binding()
    const { mesh, name, define, add } = openMesh(b)
    expect(b.meshOpen(JSON.stringify({ name }))).toBe(Status.Duplicate)
    expect(refusal(b)).toEqual({ status: Status.Duplicate, field: 'options.name' })
    expect(b.meshAttach('nobody')).toBe(Status.NotFound)
    const second = b.meshAttach(name)
    expect(second).toBeGreaterThan(0)
    const service = define('a')
    expect(b.serviceFind(second, 'a')).toBe(service)
    const here = add(service, { address: 'http://a' })
    const there = b.instanceAdd(second, service, '{}')
    expect(JSON.parse(b.instanceInfo(mesh, there)).thread).toBe(JSON.parse(b.meshInfo(second)).thread)
    expect(JSON.parse(b.threads(mesh))).toMatchObject([
      { id: 1, alive: true, blocked: false },
      { id: 2, alive: true, blocked: false },
    ])
    expect(b.meshClose(second)).toBe(0)
    expect(b.meshClose(second)).toBe(Status.StaleHandle)
    expect(b.instanceInfo(mesh, there)).toBe('')
    expect(JSON.parse(b.instanceInfo(mesh, here)).address).toBe('http://a')
    expect(JSON.parse(b.threads(mesh))[1]).toMatchObject({ id: 2, alive: false, blocked: false })
    const third = b.meshAttach(name)
    expect(b.meshClose(mesh)).toBe(0)
    expect(b.meshAttach(name)).toBe(Status.NotFound)
    expect(b.serviceDefine(third, 'b', '')).toBe(Status.Closed)
    expect(b.pick(third, service, 0)).toBe(Status.Closed)
    expect(JSON.parse(b.meshInfo(third)).closed).toBe(true)
    expect(b.meshClose(third)).toBe(0)
  })

  it.each([
    ['{', 'options', undefined],
    ['[]', 'options', undefined],
    ['{"name":1}', 'options', undefined],
    ['{"name":"x","colour":1}', 'options', undefined],
    ['{"name":"x","manualClock":1}', 'options', undefined],
    ['{"name":""}', 'options.name', 256],
    [JSON.stringify({ name: 'é'.repeat(129) }), 'options.name', 256],
    [JSON.stringify({ name: 'x', zone: 'z'.repeat(257) }), 'options.zone', 256],
    ['{"name":"x","seed":-1}', 'options.seed', 0xffffffff],
    ['{"name":"x","seed":0.5}', 'options.seed', 0xffffffff],
    ['{"name":"x","seed":4294967296}', 'options.seed', 0xffffffff],
  ])('refuses the options %.40s', (options, field, limit) => {
    const b = binding()
    expect(b.meshOpen(options)).toBe(Status.InvalidArgument)
    expect(refusal(b)).toEqual({ status: Status.InvalidArgument, field, ...(limit === undefined ? {} : { limit }) })
  })

  it('moves a manual clock only, forth and back, never below 0', () => {
    const b = binding()
    const { mesh } = openMesh(b)
    expect(b.meshNow(mesh)).toBe(0)
    expect(b.meshAdvance(mesh, 1_500)).toBe(0)
    expect(b.meshAdvance(mesh, -500)).toBe(0)
    expect(b.meshNow(mesh)).toBe(1_000)
    expect(b.meshAdvance(mesh, -5_000)).toBe(0)
    expect(b.meshNow(mesh)).toBe(0)
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, 1e16]) {
      expect(b.meshAdvance(mesh, bad)).toBe(Status.InvalidArgument)
      expect(refusal(b)).toEqual({ status: Status.InvalidArgument, field: 'microseconds', limit: 1e15 })
    }
    const real = openMesh(b, { manualClock: false }).mesh
    expect(b.meshAdvance(real, 1)).toBe(Status.InvalidArgument)
    const before = b.meshNow(real)
    expect(b.meshNow(real)).toBeGreaterThanOrEqual(before)
  })
})
