/** Carts: opened from a list of items, priced with quantity discounts. The cart itself travels as a sealed token. */
import { defineService } from 'linkmesh/config'
import { readCatalogue } from '../csv.js'
import { seal, unseal } from '../seal.js'
import { refuse } from './failure.js'

export interface CartItem {
  sku: string
  quantity: number
}
export interface PricedCart {
  lines: { sku: string; quantity: number; cents: number }[]
  discountCents: number
  totalCents: number
}

const prices = new Map(readCatalogue().map((product) => [product.sku, product.priceCents]))
const ITEMS_MAX = 50

function checked(items: unknown): CartItem[] {
  if (!Array.isArray(items) || items.length === 0 || items.length > ITEMS_MAX)
    throw refuse(400, `items is a list of 1 to ${ITEMS_MAX}`)
  for (const { sku, quantity } of items as CartItem[])
    if (!prices.has(sku) || !Number.isInteger(quantity) || quantity < 1 || quantity > 99)
      throw refuse(400, `${String(sku)} × ${String(quantity)} cannot be put in a cart`)
  return items as CartItem[]
}

export default defineService(
  {
    open: ({ items }: { items: unknown }) => ({ token: seal({ items: checked(items) }) }),

    price({ token }: { token: string }): PricedCart {
      const cart = unseal(token) as { items: CartItem[] } | undefined
      if (!cart) throw refuse(404, 'There is no such cart')
      const lines = checked(cart.items).map(({ sku, quantity }) => ({
        sku,
        quantity,
        cents: (prices.get(sku) as number) * quantity,
      }))
      const sum = lines.reduce((cents, line) => cents + line.cents, 0)
      // Five percent above 500, rounded in the customer's favour.
      const discountCents = sum > 50_000 ? Math.ceil(sum / 20) : 0
      return { lines, discountCents, totalCents: sum - discountCents }
    },
  },
  { idempotent: true },
)
