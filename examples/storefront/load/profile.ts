/**
 * The shop's customers: a seeded mix whose products follow Zipf's law, or the lines of an access log.
 *
 * How a log line becomes a request (h = FNV-1a of its path and query, so one page is always one product):
 *
 * | line | request |
 * |---|---|
 * | `POST` | `POST /orders` for the cart number h mod 500 |
 * | picture: `.png .jpg .jpeg .gif .ico .svg` | `GET /images/{product}?size=16,32 or 64` |
 * | style or script: `.css .js` | `GET /carts/{cart number h mod 500}` |
 * | with a query, or `.html` | `GET /search?q=` two words chosen by h |
 * | first segment `projects`, `files` | `GET /products?category=&page=` |
 * | the front page `/` | `GET /orders/{an order of cart h mod 500}` |
 * | everything else | `GET /products/{product}` |
 *
 * `HEAD` and `OPTIONS` keep their method, other methods become `GET`.
 */
import { defineLoad, type LoadRequest } from 'linkmesh/config'
import { CATEGORIES } from '../products.js'
import { seal } from '../seal.js'
import { type Cart, digestOf, expected, orderOf, products, remember } from './oracle.js'

const CARD = '4111111111111111'
const CARTS = 500
const EXPECTATIONS_MAX = 20_000
const QUERY_WORDS =
  'quiet bright folding wooden kettle tent novel lantern warranty paper repairs home clean hand years speaker'.split(
    ' ',
  )

interface KnownCart {
  token: string
  cart: Cart
  order: string
}
const carts: KnownCart[] = Array.from({ length: CARTS }, (_, number) => {
  const items = Array.from({ length: 1 + (number % 4) }, (_, at) => ({
    sku: skuOf(number * 7 + at * 131),
    quantity: 1 + ((number + at) % 3),
  }))
  const token = remember(seal({ items }), { items })
  const order = orderOf(token, { items }, CARD)
  return { token, cart: { items }, order: remember(seal(order), order) }
})

function skuOf(number: number): string {
  return (products[number % products.length] as { sku: string }).sku
}

/** Rank 0 is drawn about twice as often as rank 1, three times as rank 2, and so on. */
const zipf = (() => {
  const sums = new Float64Array(products.length)
  let sum = 0
  for (let rank = 0; rank < sums.length; rank++) {
    sum += 1 / (rank + 1)
    sums[rank] = sum
  }
  return (uniform: number) => {
    let low = 0
    let high = sums.length - 1
    while (low < high) {
      const middle = (low + high) >> 1
      if ((sums[middle] as number) < uniform * sum) low = middle + 1
      else high = middle
    }
    return low
  }
})()

const get = (target: string): LoadRequest => ({ method: 'GET', target })
const json = { 'content-type': 'application/json' }

const requests = {
  product: (n: number) => get(`/products/${skuOf(n)}`),
  list: (n: number) => get(`/products?category=${CATEGORIES[n % CATEGORIES.length]}&page=${(n >>> 8) % 5}`),
  search: (n: number) =>
    get(`/search?q=${QUERY_WORDS[n % QUERY_WORDS.length]}+${QUERY_WORDS[(n >>> 8) % QUERY_WORDS.length]}`),
  image: (n: number) => get(`/images/${skuOf(n)}?size=${16 << (n % 3)}`),
  cart: (n: number) => get(`/carts/${(carts[n % CARTS] as KnownCart).token}`),
  order: (n: number) => get(`/orders/${(carts[n % CARTS] as KnownCart).order}`),
  newCart: (n: number): LoadRequest => ({
    method: 'POST',
    target: '/carts',
    headers: json,
    body: JSON.stringify((carts[n % CARTS] as KnownCart).cart),
    retriable: true,
  }),
  newOrder: (n: number): LoadRequest => ({
    method: 'POST',
    target: '/orders',
    headers: json,
    body: JSON.stringify({ cart: (carts[n % CARTS] as KnownCart).token, card: CARD }),
    // A payment may have been taken: the mesh does not repeat it, and neither should a customer.
    retriable: false,
  }),
}

/** Share of each kind in the mix, in percent. */
const MIX: readonly (readonly [keyof typeof requests, number])[] = [
  ['product', 35],
  ['list', 12],
  ['search', 15],
  ['image', 15],
  ['cart', 10],
  ['order', 5],
  ['newCart', 4],
  ['newOrder', 4],
]

const known = new Map<string, string>()
function remembered(request: LoadRequest): string {
  const key = `${request.method} ${request.target} ${request.body ?? ''}`
  let answer = known.get(key)
  if (answer === undefined) {
    if (known.size >= EXPECTATIONS_MAX) known.clear()
    answer = expected(request)
    known.set(key, answer)
  }
  return answer
}

function fnv1a(text: string): number {
  let hash = 0x811c_9dc5
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x0100_0193)
  return hash >>> 0
}

function fromPath(target: string): LoadRequest {
  const hash = fnv1a(target)
  const [path = ''] = target.split('?', 1)
  if (/\.(?:png|jpe?g|gif|ico|svg)$/i.test(path)) return requests.image(hash)
  if (/\.(?:css|js)$/i.test(path)) return requests.cart(hash)
  if (target.includes('?') || path.endsWith('.html')) return requests.search(hash)
  if (/^\/(?:projects|files)(?:\/|$)/.test(path)) return requests.list(hash)
  return path === '/' ? requests.order(hash) : requests.product(hash)
}

export default defineLoad({
  next(random) {
    let share = random() * 100
    const rank = zipf(random())
    // Spread over all bits, so that the ranks of one kind do not share their second choice.
    const number = Math.imul(rank, 0x9e37_79b1) >>> 0
    for (const [kind, percent] of MIX) {
      share -= percent
      // Rank by rank, so that the most asked-for product is the same whichever way it is asked for.
      if (share < 0) return requests[kind](kind === 'product' || kind === 'image' ? rank : number)
    }
    return requests.product(rank)
  },
  fromLog(entry) {
    if (entry.method === 'POST') return requests.newOrder(fnv1a(entry.target))
    const request = fromPath(entry.target)
    return entry.method === 'HEAD' || entry.method === 'OPTIONS' ? { ...request, method: entry.method } : request
  },
  expected: remembered,
  digest: digestOf,
})
