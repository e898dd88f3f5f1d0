/** The shop's products: made from a fixed seed, so every thread has the same 2,000 without a file or a database. */

export interface Product {
  sku: string
  name: string
  category: string
  priceCents: number
  stock: number
  description: string
}

export const CATEGORIES = [
  'audio',
  'books',
  'camping',
  'cycling',
  'garden',
  'kitchen',
  'lamps',
  'office',
  'toys',
  'watches',
] as const
const ADJECTIVES =
  'quiet bright folding solid light warm small large round silver wooden woven modern classic sturdy slim'.split(' ')
const NOUNS =
  'speaker novel tent bicycle shears kettle lantern chair puzzle clock kite bottle blanket stove radio map'.split(' ')
const WORDS =
  'made for long days and short nights with parts that last easy to clean and kind to the hand it packs flat weighs little ships in paper repairs at home carries a warranty of ten years'.split(
    ' ',
  )
const COUNT = 2_000

/** Numerical Recipes' linear congruential generator: enough for words, and the same everywhere. */
function sequence(seed: number): (bound: number) => number {
  let state = seed >>> 0
  return (bound) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 4_294_967_296) * bound)
  }
}

/** All products, in the order of their SKU. */
export function makeProducts(): Product[] {
  const draw = sequence(20_260_515)
  const word = (list: readonly string[]) => list[draw(list.length)] as string
  return Array.from({ length: COUNT }, (_, index) => ({
    sku: `S-${String(index + 1).padStart(4, '0')}`,
    name: `${word(ADJECTIVES)} ${word(ADJECTIVES)} ${word(NOUNS)}`,
    category: word(CATEGORIES),
    priceCents: 199 + draw(40_000),
    stock: draw(500),
    description: `A "${word(NOUNS)}", ${Array.from({ length: 12 + draw(20) }, () => word(WORDS)).join(' ')}.`,
  }))
}

/** The same as a supplier would send it: CSV with quoted fields (RFC 4180). */
export function makeCatalogueCsv(): string {
  const quoted = (text: string) => `"${text.replaceAll('"', '""')}"`
  const lines = makeProducts().map((p) =>
    [p.sku, quoted(p.name), p.category, p.priceCents, p.stock, quoted(p.description)].join(','),
  )
  return `sku,name,category,price_cents,stock,description\n${lines.join('\n')}\n`
}
