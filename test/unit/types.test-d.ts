import { type } from 'arktype'
import * as v from 'valibot'
import { describe, expectTypeOf, it } from 'vitest'
import { z } from 'zod'
import { type Context, contract, type Mesh, type as plain } from '../../ts/index.js'

declare const mesh: Mesh

describe('contracts', () => {
  const shop = contract({
    'orders.create': {
      request: z.object({ sku: z.string(), count: z.number().default(1) }),
      reply: v.object({ id: v.number() }),
    },
    'orders.get': { request: type({ id: 'number' }), reply: plain<{ id: number; sku: string } | null>() },
    'orders.watch': {
      request: plain<{ since: number }>(),
      item: z.object({ id: z.number(), at: z.string().transform((text) => new Date(text)) }),
    },
  })

  it('types what a client puts in and gets out', () => {
    const client = mesh.client(shop)
    expectTypeOf(client['orders.create']).parameter(0).toEqualTypeOf<{ sku: string; count?: number | undefined }>()
    expectTypeOf(client['orders.create']({ sku: 'a' })).resolves.toEqualTypeOf<{ id: number }>()
    expectTypeOf(client['orders.get']).parameter(0).toEqualTypeOf<{ id: number }>()
    expectTypeOf(client['orders.get']({ id: 1 })).resolves.toEqualTypeOf<{ id: number; sku: string } | null>()
    expectTypeOf(client['orders.watch']({ since: 1 })).toEqualTypeOf<AsyncIterableIterator<{ id: number; at: Date }>>()
    // @ts-expect-error the request needs a sku
    client['orders.create']({})
    // @ts-expect-error no such service
    client['orders.drop']
  })

  it('types what a handler gets and must answer', () => {
    mesh.serve(shop, {
      'orders.create': async (body, ctx) => {
        expectTypeOf(body).toEqualTypeOf<{ sku: string; count: number }>()
        expectTypeOf(ctx).toEqualTypeOf<Context>()
        return { id: 1 }
      },
      'orders.get': ({ id }) => ({ id, sku: 'a' }),
      'orders.watch': async function* ({ since }) {
        yield { id: since, at: '2026-01-01' }
      },
    })
    mesh.serve(shop, {
      // @ts-expect-error the reply needs a number
      'orders.create': () => ({ id: 'one' }),
      'orders.get': () => null,
      'orders.watch': async function* () {},
    })
    // @ts-expect-error a handler is missing
    mesh.serve(shop, { 'orders.get': () => null })
  })

  it('types plain requests by what the caller says', () => {
    expectTypeOf(mesh.request<{ id: number }>('orders.get', 1)).resolves.toEqualTypeOf<{ id: number }>()
    expectTypeOf(mesh.request('orders.get')).resolves.toEqualTypeOf<unknown>()
    mesh.service('x', (body: { a: number }, ctx) => {
      expectTypeOf(ctx.signal).toEqualTypeOf<AbortSignal>()
      return body.a
    })
    // @ts-expect-error a deadline is a number
    mesh.request('x', 1, { timeoutMs: '5' })
    // @ts-expect-error an instance of one's own transport needs an address
    mesh.register('x', { weight: 1 })
  })
})
