/** Full-text search: an inverted index ranked by BM25 (Robertson and Zaragoza 2009, k1 = 1.2, b = 0.75). */
import { defineService } from 'linkmesh/config'
import { readCatalogue } from '../csv.js'
import { refuse } from './failure.js'

const K1 = 1.2
const B = 0.75
const LIMIT = 10

const products = readCatalogue()
const lengths = new Uint16Array(products.length)
/** Word → product indexes and how often the word is in each. */
const index = new Map<string, { ids: number[]; counts: number[] }>()
for (const [id, product] of products.entries()) {
  const words = wordsOf(`${product.name} ${product.description}`)
  lengths[id] = words.length
  for (const word of words) {
    let postings = index.get(word)
    if (!postings) {
      postings = { ids: [], counts: [] }
      index.set(word, postings)
    }
    const last = postings.ids.length - 1
    if (postings.ids[last] === id) postings.counts[last]!++
    else {
      postings.ids.push(id)
      postings.counts.push(1)
    }
  }
}
const meanLength = lengths.reduce((sum, length) => sum + length, 0) / products.length

function wordsOf(text: string): string[] {
  return text.toLowerCase().match(/[a-z]+/g) ?? []
}

export default defineService(
  {
    query({ q }: { q: string }) {
      const words = wordsOf(q).slice(0, 8)
      if (words.length === 0) throw refuse(400, 'q has no word to search for')
      const scores = new Float64Array(products.length)
      for (const word of words) {
        const postings = index.get(word)
        if (!postings) continue
        const rarity = Math.log(1 + (products.length - postings.ids.length + 0.5) / (postings.ids.length + 0.5))
        for (const [at, id] of postings.ids.entries()) {
          const count = postings.counts[at] as number
          const norm = 1 - B + (B * (lengths[id] as number)) / meanLength
          scores[id]! += (rarity * count * (K1 + 1)) / (count + K1 * norm)
        }
      }
      const hits: { sku: string; score: number }[] = []
      for (const [id, score] of scores.entries())
        if (score > 0) hits.push({ sku: (products[id] as { sku: string }).sku, score: Math.round(score * 1e6) })
      hits.sort((a, b) => b.score - a.score || (a.sku < b.sku ? -1 : 1))
      return { words, total: hits.length, hits: hits.slice(0, LIMIT) }
    },
  },
  { idempotent: true },
)
