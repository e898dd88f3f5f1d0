/**
 * What each reply should be, computed from the request alone and by other means than the services use: straight from
 * the list of products, by linear scans, without an index, a CSV or a picture encoder.
 */
import { createHash, createHmac, pbkdf2Sync } from 'node:crypto'
import { inflateRawSync, inflateSync } from 'node:zlib'
import type { LoadReply, LoadRequest } from 'linkmesh/config'
import { makeProducts, type Product } from '../products.js'
import { SEAL_KEY } from '../seal.js'

export const products = makeProducts()
const bySku = new Map(products.map((product) => [product.sku, product]))
const texts = products.map((product) =>
  (`${product.name} ${product.description}`.match(/[a-zA-Z]+/g) ?? []).map((w) => w.toLowerCase()),
)
const meanLength = texts.reduce((sum, words) => sum + words.length, 0) / texts.length

/** Items of the carts and orders that were asked for, by their token: the oracle opens no seal to price one. */
const sealed = new Map<string, unknown>()

/** Remembers what a token of {@link sealFor} stands for. */
export function remember(token: string, value: unknown): string {
  sealed.set(token, value)
  return token
}

const digest = (value: unknown) => createHash('sha256').update(JSON.stringify(value)).digest('base64')

/** Digest of the reply that is right. */
export function expected(request: LoadRequest): string {
  if (request.method === 'OPTIONS') return 'options'
  if (request.method === 'HEAD') return 'head'
  const url = new URL(request.target, 'http://shop')
  const [, place, name = ''] = url.pathname.split('/')
  const query = url.searchParams
  if (request.method === 'POST') return digest(place === 'carts' ? JSON.parse(request.body as string) : order(request))
  switch (place) {
    case 'products':
      return digest(name ? product(name) : list(query.get('category') as string, Number(query.get('page'))))
    case 'search':
      return digest(search(query.get('q') as string))
    case 'carts':
      return digest(price(sealed.get(name) as Cart))
    case 'orders':
      return digest(sealed.get(name))
    case 'images':
      return picture(name, Number(query.get('size')))
    default:
      throw new Error(`no oracle for ${request.target}`)
  }
}

/** Digest of a reply that came. */
export function digestOf(request: LoadRequest, reply: LoadReply): string {
  const bytes = Buffer.from(reply.body)
  if (request.method === 'OPTIONS')
    return reply.status === 204 && reply.headers.allow !== undefined ? 'options' : 'no allow'
  if (request.method === 'HEAD')
    return reply.status === 200 && bytes.length === 0 && Number(reply.headers['content-length']) > 0
      ? 'head'
      : 'no head'
  if (reply.status !== 200) return `status ${reply.status}`
  if (reply.headers['content-type'] === 'image/png') return pixels(bytes)
  const value = JSON.parse(bytes.toString('utf8')) as Record<string, unknown>
  if (request.method === 'POST' && 'token' in value) return digest(open(value.token as string))
  if (request.method === 'POST') {
    const { id, ...rest } = value
    const inside = open(id as string)
    return JSON.stringify(inside) === JSON.stringify(rest) ? digest(rest) : 'number and order differ'
  }
  return digest(value)
}

function product(sku: string): unknown {
  const found = bySku.get(sku) as Product
  return { ...found, version: createHash('sha256').update(JSON.stringify(found)).digest('hex').slice(0, 16) }
}

function list(category: string, page: number): unknown {
  const skus = products
    .filter((p) => p.category === category)
    .map((p) => [p.priceCents, p.sku] as const)
    .sort(([a, x], [b, y]) => (a === b ? x.localeCompare(y) : a - b))
  return { category, total: skus.length, skus: skus.slice(page * 20, page * 20 + 20).map(([, sku]) => sku) }
}

/** How often a word is in each text, by reading them all; remembered, for there are few words. */
const countsByWord = new Map<string, number[]>()
function countsOf(word: string): number[] {
  const counts = countsByWord.get(word) ?? texts.map((text) => text.filter((w) => w === word).length)
  countsByWord.set(word, counts)
  return counts
}

/** BM25 by scanning every text for every word. */
function search(q: string): unknown {
  const words = q.toLowerCase().split(' ')
  const scores = products.map(() => 0)
  for (const word of words) {
    const counts = countsOf(word)
    const holders = counts.filter((count) => count > 0).length
    if (holders === 0) continue
    const rarity = Math.log(1 + (products.length - holders + 0.5) / (holders + 0.5))
    for (const [id, count] of counts.entries()) {
      if (count === 0) continue
      const norm = 1 - 0.75 + (0.75 * (texts[id] as string[]).length) / meanLength
      scores[id] = (scores[id] as number) + (rarity * count * (1.2 + 1)) / (count + 1.2 * norm)
    }
  }
  const hits = scores
    .map((score, id) => ({ sku: (products[id] as Product).sku, score: Math.round(score * 1e6) }))
    .filter((hit) => hit.score > 0)
    .sort((a, b) => b.score - a.score || a.sku.localeCompare(b.sku))
  return { words, total: hits.length, hits: hits.slice(0, 10) }
}

export interface Cart {
  items: { sku: string; quantity: number }[]
}

function price(cart: Cart) {
  let sum = 0
  const lines = cart.items.map(({ sku, quantity }) => {
    const cents = quantity * (bySku.get(sku) as Product).priceCents
    sum += cents
    return { sku, quantity, cents }
  })
  const discountCents = sum > 50_000 ? Math.ceil(sum * 0.05 - 1e-9) : 0
  return { lines, discountCents, totalCents: sum - discountCents }
}

/** What an order for this cart and card says. */
export function orderOf(token: string, cart: Cart, card: string) {
  const { totalCents, lines } = price(cart)
  const reference = createHash('sha256').update(token).digest('hex').slice(0, 24)
  const authorization = pbkdf2Sync(`${card}:${totalCents}`, reference, 200, 12, 'sha256').toString('hex')
  return { reference, cents: totalCents, items: lines.length, authorization }
}

function order(request: LoadRequest): unknown {
  const { cart, card } = JSON.parse(request.body as string) as { cart: string; card: string }
  return orderOf(cart, sealed.get(cart) as Cart, card)
}

function open(token: string): unknown {
  const [packed = '', mac = ''] = token.split('.')
  if (createHmac('sha256', SEAL_KEY).update(packed).digest('base64url') !== mac) return 'broken seal'
  return JSON.parse(inflateRawSync(Buffer.from(packed, 'base64url')).toString('utf8'))
}

function picture(sku: string, size: number): string {
  const number = Number(sku.slice(2))
  const grey = new Uint8Array(size * size)
  for (let at = 0; at < grey.length; at++) {
    const x = at % size
    const y = (at - x) / size
    grey[at] = (x * y * number + x * 7 + y * 13) % 256
  }
  return createHash('sha256').update(grey).digest('base64')
}

/** Digest of a picture's pixels, whatever the compressor made of them. */
function pixels(file: Buffer): string {
  const size = file.readUInt32BE(16)
  const rows = inflateSync(file.subarray(41, 41 + file.readUInt32BE(33)))
  const grey = new Uint8Array(size * size)
  for (let y = 0; y < size; y++) {
    if (rows[y * (size + 1)] !== 0) return 'a filtered row'
    grey.set(rows.subarray(y * (size + 1) + 1, (y + 1) * (size + 1)), y * size)
  }
  return createHash('sha256').update(grey).digest('base64')
}
