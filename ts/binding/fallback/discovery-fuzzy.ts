/**
 * Typo-tolerant matching of names: the same set and the same similarity, bit by bit, as
 * `crates/registry/src/discovery/fuzzy.rs`, whose docs are the specification.
 */

/** Letters of the query that may be left out. */
export function allowedTypos(queryBytes: number): number {
  return queryBytes < 4 ? 0 : queryBytes < 8 ? 1 : 2
}

const MATCH = 16
const NEXT_TO = 8
const WORD_START = 6
const SWAP = 28
const GAP_OPEN = 5
const GAP_EXTEND = 1
const LEFT_OUT = 8
const NEVER = -1_000_000

/** One fuzzy query of 1 to 256 bytes of ASCII. */
export class FuzzyMatcher {
  readonly #query: string
  readonly #letters: readonly number[]
  readonly #reach: Int32Array
  /** Rows i-2, i-1 and i of the alignment, (ends in a match, ends otherwise) by column. */
  #before = new Int32Array(0)
  #above = new Int32Array(0)
  #row = new Int32Array(0)

  constructor(query: string) {
    this.#query = query.toLowerCase()
    this.#letters = Array.from(this.#query, (letter) => letter.charCodeAt(0))
    this.#reach = new Int32Array(allowedTypos(query.length) + 1)
  }

  /** Whether the name, read from left to right, holds all letters of the query but the allowed number of them. */
  matches(name: string): boolean {
    const letters = this.#letters
    const reach = this.#reach
    const typos = reach.length - 1
    // reach[t]: letters of the query consumed so far when t of them were left out. Further is never worse.
    for (let t = 0; t <= typos; t++) reach[t] = t
    const lower = name.toLowerCase()
    for (let at = 0; at < lower.length; at++) {
      const here = lower.charCodeAt(at)
      for (let t = 0; t <= typos; t++) {
        const consumed = reach[t] as number
        const left = t === 0 ? 0 : (reach[t - 1] as number) + 1
        reach[t] = Math.max(left, letters[consumed] === here ? consumed + 1 : consumed)
        if ((reach[t] as number) >= letters.length) return true
      }
    }
    return (reach[typos] as number) >= letters.length
  }

  /** How well the query fits the name, 0 to 1. */
  similarity(name: string): number {
    const length = this.#letters.length
    if (this.#query === name.toLowerCase()) return 1
    const quality = Math.max(this.#best(name), 0) / (24 * length)
    return 0.8 * quality + 0.15 * (length / Math.max(length, name.length))
  }

  #best(name: string): number {
    const letters = this.#letters
    const lower = name.toLowerCase()
    const width = lower.length + 1
    if (this.#row.length < 2 * width) {
      this.#before = new Int32Array(2 * width)
      this.#above = new Int32Array(2 * width)
      this.#row = new Int32Array(2 * width)
    }
    let before = this.#before.fill(NEVER)
    let above = this.#above.fill(NEVER)
    let row = this.#row.fill(NEVER)
    for (let j = 0; j < width; j++) above[2 * j + 1] = 0
    for (let i = 0; i < letters.length; i++) {
      const letter = letters[i]
      row[0] = NEVER
      row[1] = -LEFT_OUT * (i + 1)
      for (let j = 1; j < width; j++) {
        const here = lower.charCodeAt(j - 1)
        const diagonalMatched = above[2 * j - 2] as number
        const diagonal = above[2 * j - 1] as number
        let matched = NEVER
        if (letter === here) {
          const fresh = startsWord(name, j - 1) ? WORD_START : 0
          matched = MATCH + Math.max(diagonalMatched + NEXT_TO, diagonal + fresh)
        }
        if (i > 0 && j > 1 && letter === lower.charCodeAt(j - 2) && letters[i - 1] === here)
          matched = Math.max(matched, Math.max(before[2 * j - 4] as number, before[2 * j - 3] as number) + SWAP)
        const gap = Math.max((row[2 * j - 2] as number) - GAP_OPEN, (row[2 * j - 1] as number) - GAP_EXTEND)
        const over = Math.max(above[2 * j] as number, above[2 * j + 1] as number)
        const skipped = Math.max(over, diagonalMatched, diagonal) - LEFT_OUT
        row[2 * j] = matched
        row[2 * j + 1] = Math.max(gap, skipped)
      }
      const spare = before
      before = above
      above = row
      row = spare
    }
    let best = NEVER
    for (let at = 0; at < 2 * width; at++) best = Math.max(best, above[at] as number)
    return best
  }
}

const ALPHANUMERIC = /[0-9A-Za-z]/

function startsWord(name: string, at: number): boolean {
  if (at === 0) return true
  const before = name.charAt(at - 1)
  const here = name.charAt(at)
  if (!ALPHANUMERIC.test(here)) return false
  return !ALPHANUMERIC.test(before) || (before >= 'a' && before <= 'z' && here >= 'A' && here <= 'Z')
}
