/** Finding services: exact, by prefix, with typing errors, by tags, combined and ranked. */
import { expect, it } from 'vitest'
import { type DiscoveryResult, Status } from '../../ts/binding/contract.js'
import { onBothBackends, refusal } from './backends.js'
import { openMesh } from './open-mesh.js'

onBothBackends('discovery', (binding) => {
  const mesh = () => {
    const opened = openMesh(binding(), { zone: 'eu' })
    for (const [name, tags, zone] of [
      ['orders.create', ['core', 'v2'], 'eu'],
      ['orders.cancel', ['core'], 'us'],
      ['payments', ['core', 'pci'], 'eu'],
      ['search', ['gpu'], 'eu'],
    ] as const) {
      opened.add(opened.define(name), { address: `http://${name}`, tags: [...tags], zone })
    }
    const discover = (query: object) => {
      const text = opened.b.discover(opened.mesh, JSON.stringify(query))
      expect(text, opened.b.lastError()).not.toBe('')
      return JSON.parse(text) as DiscoveryResult
    }
    return { ...opened, discover, names: (query: object) => discover(query).results.map(({ service }) => service) }
  }

  it('finds by name, prefix, typing error and tags', () => {
    const { names, discover } = mesh()
    expect(names({ name: 'payments' })).toEqual(['payments'])
    expect(names({ name: 'payment' })).toEqual([])
    expect(names({ prefix: 'orders.' }).sort()).toEqual(['orders.cancel', 'orders.create'])
    expect(names({ fuzzy: 'paymnets' })).toEqual(['payments'])
    expect(names({ fuzzy: 'serch' })).toEqual(['search'])
    expect(names({ tags: { all: ['core'], none: ['pci'] } }).sort()).toEqual(['orders.cancel', 'orders.create'])
    expect(names({ prefix: 'orders', tags: { any: ['v2', 'v3'] } })).toEqual(['orders.create'])
    expect(names({}).length).toBe(4)
    expect(names({ limit: 2 }).length).toBe(2)
    expect(discover({ name: 'payments' }).results[0]?.why.kind).toBe('exact')
  })

  it('prefers the near and the healthy', () => {
    const { names, b, mesh: handle } = mesh()
    expect(names({ prefix: 'orders.c' })[0]).toBe('orders.create')
    expect(names({ prefix: 'orders.c', zone: 'us' })[0]).toBe('orders.cancel')
    const create = b.serviceFind(handle, 'orders.create')
    const [instance] = JSON.parse(b.serviceInfo(handle, create)).instances
    b.instanceUpdate(handle, instance.handle, '{"health":"degraded"}')
    expect(names({ prefix: 'orders.c' })[0]).toBe('orders.cancel')
  })

  it('answers from its cache until a change that touches the answer', () => {
    const { discover, define, add } = mesh()
    expect(discover({ name: 'payments' }).cached).toBe(false)
    expect(discover({ name: 'payments' }).cached).toBe(true)
    add(define('elsewhere'), { address: 'http://e' })
    expect(discover({ name: 'payments' }).cached).toBe(true)
    add(define('payments'), { address: 'http://p2' })
    expect(discover({ name: 'payments' }).cached).toBe(false)
  })

  it.each([
    ['{"name":""}', 'name', Status.InvalidArgument],
    ['{"fuzzy":"a b"}', 'fuzzy', Status.InvalidArgument],
    [JSON.stringify({ prefix: 'p'.repeat(257) }), 'prefix', Status.LimitExceeded],
    ['{"limit":0}', 'limit', Status.InvalidArgument],
    ['{"limit":1001}', 'limit', Status.InvalidArgument],
    ['{"deadlineMs":-1}', 'deadlineMs', Status.InvalidArgument],
    ['{"tags":{"some":[]}}', 'tags.some', Status.InvalidArgument],
    ['{"tags":["a"]}', 'tags', Status.InvalidArgument],
    ['{"nmae":"a"}', 'nmae', Status.InvalidArgument],
    ['7', 'query', Status.InvalidArgument],
  ])('refuses the query %.40s', (query, field, status) => {
    const b = binding()
    expect(b.discover(openMesh(b).mesh, query)).toBe('')
    expect(refusal(b)).toMatchObject({ status, field })
  })
})
