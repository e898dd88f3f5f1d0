import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { contract } from '../../ts/index.js'
import { opened } from '../support/mesh.js'

describe('contracts', () => {
  const shop = contract({
    'orders.create': {
      request: z.object({ sku: z.string(), count: z.number().default(1) }),
      reply: z.object({ id: z.number() }),
    },
    'orders.list': { request: z.object({}), item: z.object({ id: z.number() }) },
  })

  it('checks requests before the handler, replies after it, and names the field', async () => {
    const mesh = await opened()
    let id: unknown = 1
    let runs = 0
    mesh.serve(shop, {
      'orders.create': ({ count }) => {
        runs++
        expect(count).toBe(1)
        return { id: id as number }
      },
      'orders.list': async function* () {
        yield { id: 1 }
        yield { id: 'two' as unknown as number }
      },
    })
    const client = mesh.client(shop)
    expect(await client['orders.create']({ sku: 'A-1' })).toEqual({ id: 1 })
    await expect(client['orders.create']({ sku: 7 as unknown as string })).rejects.toMatchObject({
      code: 'LM_INVALID_ARGUMENT',
      field: 'body.sku',
      retryable: false,
    })
    expect(runs).toBe(1)
    id = 'x'
    await expect(client['orders.create']({ sku: 'A-1' })).rejects.toMatchObject({
      code: 'LM_INTERNAL',
      field: 'reply.id',
    })
    const items = client['orders.list']({})
    expect(await items.next()).toEqual({ value: { id: 1 }, done: false })
    await expect(items.next()).rejects.toMatchObject({ field: 'item.id' })
  })

  it('refuses half a set of handlers, and registers nothing then', async () => {
    const mesh = await opened()
    expect(() => mesh.serve(shop, { 'orders.create': () => ({ id: 1 }) } as never)).toThrow(
      expect.objectContaining({ field: 'handlers.orders.list' }),
    )
    expect(mesh.services()).toEqual([])
    expect(() => contract({ x: { request: {} } } as never)).toThrow(
      expect.objectContaining({ field: 'contract.x.request' }),
    )
  })
})
