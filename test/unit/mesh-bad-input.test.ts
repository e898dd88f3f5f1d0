import { describe, expect, it } from 'vitest'
import { Mesh, Outcome, type RequestOptions, type ServiceOptions } from '../../ts/index.js'
import { opened } from '../support/mesh.js'

describe('bad input', () => {
  const names: [unknown, string][] = [
    ['', 'empty'],
    ['x'.repeat(257), 'overlong'],
    ['a\0b', 'NUL'],
    ['__proto__', '__proto__'],
    [7, 'number'],
    [null, 'null'],
    ['\ud800', 'lone surrogate'],
  ]
  it.each(names)('refuses %j as a name (%s) everywhere, and goes on', async (name) => {
    const mesh = await opened()
    const bad = name as string
    expect(() => mesh.service(bad, () => 1)).toThrow(
      expect.objectContaining({
        code: expect.stringMatching(/^LM_(INVALID_ARGUMENT|LIMIT_EXCEEDED)$/),
        field: expect.any(String),
      }),
    )
    await expect(mesh.request(bad)).rejects.toMatchObject({
      code: expect.stringMatching(/^LM_(INVALID_ARGUMENT|LIMIT_EXCEEDED|NOT_FOUND)$/),
    })
    expect(() => mesh.route(bad)).toThrow(expect.objectContaining({ name: 'LinkmeshError' }))
    mesh.service('fine', () => 'fine')
    expect(await mesh.request('fine')).toBe('fine')
    expect(mesh.services().map((service) => service.name)).toEqual(['fine'])
  })

  const requests: [RequestOptions, string][] = [
    [{ timeoutMs: 0 }, 'timeoutMs'],
    [{ timeoutMs: -5 }, 'timeoutMs'],
    [{ timeoutMs: Number.NaN }, 'timeoutMs'],
    [{ timeoutMs: 2 ** 40 }, 'timeoutMs'],
    [{ key: '' }, 'key'],
    [{ key: 'k'.repeat(1_025) }, 'key'],
    [{ signal: {} as AbortSignal }, 'signal'],
    [{ retries: -1 }, 'retries'],
    [{ retries: 1.5 }, 'retries'],
    [{ metadata: { a: 1 as unknown as string } }, 'metadata.a'],
    [{ metadata: { a: 'x'.repeat(20_000) } }, 'metadata'],
    [{ idempotent: 'yes' as unknown as boolean }, 'idempotent'],
    [[] as unknown as RequestOptions, 'options'],
    [null as unknown as RequestOptions, 'options'],
  ]
  it.each(requests)('refuses the request options %j and names %s', async (options, field) => {
    const mesh = await opened()
    mesh.service('fine', () => 'fine')
    await expect(mesh.request('fine', 0, options)).rejects.toMatchObject({
      code: 'LM_INVALID_ARGUMENT',
      field,
      outcome: 'not-delivered',
    })
    expect(mesh.services()[0]?.instances[0]?.picked).toBe(0)
  })

  const services: [unknown, string][] = [
    [{ weight: 0 }, 'weight'],
    [{ weight: 1_001 }, 'weight'],
    [{ weight: Number.NaN }, 'weight'],
    [{ weight: Number.POSITIVE_INFINITY }, 'weight'],
    [{ weigth: 2 }, 'weigth'],
    [{ version: 'not a version' }, 'version'],
    [{ tags: 'eu' }, 'tags'],
    [{ tags: Array.from({ length: 33 }, (_, index) => `t${index}`) }, 'tags'],
    [{ policy: { breaker: { openMs: Number.NaN } } }, 'openMs'],
    [{ policy: { breaker: { openMs: -1 } } }, 'openMs'],
    [{ policy: { balancer: 'magic' } }, 'balancer'],
    [{ policy: { unknown: 1 } }, 'unknown'],
    [{ policy: 'fast' }, 'policy'],
  ]
  it.each(services)('refuses the service options %j and names %s', async (options, field) => {
    const mesh = await opened()
    expect(() => mesh.service('x', () => 1, options as ServiceOptions)).toThrow(
      expect.objectContaining({
        code: expect.stringMatching(/^LM_(INVALID_ARGUMENT|LIMIT_EXCEEDED)$/),
        message: expect.stringContaining(field),
      }),
    )
    expect(mesh.services().flatMap((service) => service.instances)).toEqual([])
  })

  it('refuses options that are not there, wrong types and wrong ranges', async () => {
    await expect(Mesh.open({ nmae: 'x' } as never)).rejects.toMatchObject({ field: 'options.nmae' })
    await expect(Mesh.open({ seed: -1 })).rejects.toMatchObject({ field: 'options.seed' })
    await expect(Mesh.open({ pollWindowMs: Number.NaN })).rejects.toMatchObject({ field: 'options.pollWindowMs' })
    await expect(Mesh.open({ logger: {} as never })).rejects.toMatchObject({ field: 'options.logger' })
    await expect(Mesh.open({ codec: 'xml' as never })).rejects.toMatchObject({ field: 'options.codec' })
    const mesh = await opened()
    expect(() => mesh.on('nothing' as never, () => {})).toThrow(expect.objectContaining({ field: 'event' }))
    expect(() => mesh.discover({ limit: 0 })).toThrow(expect.objectContaining({ field: 'query.limit' }))
    expect(() => mesh.discover({ tags: { all: 'x' } } as never)).toThrow(
      expect.objectContaining({ field: 'query.tags.all' }),
    )
    expect(() => mesh.metrics.counter('bad name')).toThrow(
      expect.objectContaining({ code: expect.stringMatching(/^LM_/) }),
    )
    expect(() => mesh.metrics.counter('fine_total').add(-1)).toThrow(expect.objectContaining({ field: 'value' }))
    await expect(mesh.metrics.render('xml' as never)).rejects.toMatchObject({ field: 'format' })
  })

  it('answers forged tickets and handles with typed errors', async () => {
    const mesh = await opened()
    mesh.register('payments', { address: 'http://10.0.0.1' })
    const route = mesh.route('payments')
    for (const ticket of [0, -1, 1, 2 ** 53, 1.5, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() => route.complete(ticket, Outcome.Ok)).toThrow(expect.objectContaining({ code: 'LM_STALE_TICKET' }))
      expect(() => route.instance(ticket)).toThrow(expect.objectContaining({ code: 'LM_STALE_TICKET' }))
    }
    expect(() => route.complete(route.pick(), 9 as never)).toThrow(expect.objectContaining({ field: 'outcome' }))
  })
})
