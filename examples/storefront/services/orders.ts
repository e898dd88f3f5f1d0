/** Orders: price the cart, authorise the payment (both through the mesh), and seal the order into its number. */
import { createHash } from 'node:crypto'
import { type Context, defineService } from 'linkmesh/config'
import { seal, unseal } from '../seal.js'
import type { PricedCart } from './cart.js'
import { refuse } from './failure.js'

interface Authorization {
  code: string
  card: string
  cents: number
}

export default defineService(
  {
    async create({ cart, card }: { cart: string; card: string }, ctx: Context) {
      if (typeof cart !== 'string' || typeof card !== 'string') throw refuse(400, 'An order needs cart and card')
      const priced = await ctx.request<PricedCart>('cart.price', { token: cart })
      const reference = createHash('sha256').update(cart).digest('hex').slice(0, 24)
      const payment = await ctx.request<Authorization>('payments.authorize', {
        card,
        cents: priced.totalCents,
        reference,
      })
      const order = { reference, cents: payment.cents, items: priced.lines.length, authorization: payment.code }
      return { id: seal(order), ...order }
    },

    get({ id }: { id: string }) {
      const order = unseal(id)
      if (!order) throw refuse(404, 'There is no such order')
      return order
    },
  },
  { idempotent: ['get'] },
)
