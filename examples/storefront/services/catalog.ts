/** Products by number and by category. */
import { createHash } from 'node:crypto'
import { defineService } from 'linkmesh/config'
import { readCatalogue } from '../csv.js'
import { refuse } from './failure.js'

const products = readCatalogue()
const bySku = new Map(products.map((product) => [product.sku, product]))
const PAGE = 20

export default defineService(
  {
    get({ sku }: { sku: string }) {
      const product = bySku.get(sku)
      if (!product) throw refuse(404, `There is no product ${sku}`)
      const version = createHash('sha256').update(JSON.stringify(product)).digest('hex').slice(0, 16)
      return { ...product, version }
    },

    list({ category, page = '0' }: { category: string; page?: string }) {
      const from = Number(page) * PAGE
      if (!Number.isInteger(from) || from < 0) throw refuse(400, 'page is a whole number from 0')
      const found = products.filter((product) => product.category === category)
      found.sort((a, b) => a.priceCents - b.priceCents || (a.sku < b.sku ? -1 : 1))
      return { category, total: found.length, skus: found.slice(from, from + PAGE).map((product) => product.sku) }
    },
  },
  { idempotent: true },
)
