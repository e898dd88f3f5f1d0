/**
 * `CompressedRadixArena` as the specification says it: a trie of whole segments, searched from the left, and a map of
 * literal prefixes. Written for being obviously right; the addon's arena is compared with it.
 */
import { invalid } from './edge.js'
import { type Pattern, parsePattern, type Segment } from './radix-pattern.js'
import { checkedText, utf8Length } from './text.js'

/** Longest literal prefix, bytes. */
const MAX_PREFIX_BYTES = 4_096

interface Leaf {
  readonly id: number
  readonly pattern: Pattern
  value: number
}

/** A segment with a capture: text before and after it, longest text first among its siblings. */
interface Affix {
  readonly prefix: string
  readonly suffix: string
  readonly node: Node
}

/** `**`, perhaps with text after it. */
interface Rest {
  readonly suffix: string
  readonly leaf: Leaf
}

interface Node {
  readonly literals: Map<string, Node>
  readonly affixes: Affix[]
  readonly rests: Rest[]
  leaf: Leaf | undefined
}

const newNode = (): Node => ({ literals: new Map(), affixes: [], rests: [], leaf: undefined })

/** The longer text in front goes first, then the longer text behind: bytes, as in the specification. */
function bySpecificity(a: Affix, b: Affix): number {
  return utf8Length(b.prefix) - utf8Length(a.prefix) || utf8Length(b.suffix) - utf8Length(a.suffix)
}

function checkedPrefix(text: unknown): string {
  if (text === '') throw invalid('pattern', 'a prefix is not empty')
  return checkedText(text, 'pattern', MAX_PREFIX_BYTES)
}

/** Patterns and prefixes. A match visits each node of the trie once at most; it allocates nothing but what it grows. */
export class RadixArena {
  readonly #root = newNode()
  /** By the pattern's shape: two patterns that match the same paths in the same way are one. */
  readonly #leaves = new Map<string, Leaf>()
  readonly #byId = new Map<number, Leaf>()
  /** 0 is no pattern. */
  #nextId = 1
  readonly #prefixes = new Map<string, number>()
  /** How many prefixes there are of each length, units; longest first. */
  #prefixLengths: { length: number; count: number }[] = []

  /** Edges of the segments of the path at hand: start of the i-th at 2i, its end at 2i + 1. */
  readonly #edges: number[] = []
  #segments = 0

  /** Patterns and prefixes. */
  get size(): number {
    return this.#leaves.size + this.#prefixes.size
  }

  insertPattern(text: unknown, value: number): void {
    const pattern = parsePattern(text)
    const known = this.#leaves.get(pattern.shape)
    if (known !== undefined && sameCaptures(known.pattern, pattern)) {
      known.value = value
      return
    }
    if (known !== undefined) this.#remove(known)
    const leaf = { id: this.#nextId++, pattern, value }
    this.#leaves.set(pattern.shape, leaf)
    this.#byId.set(leaf.id, leaf)
    this.#attach(leaf)
  }

  deletePattern(text: unknown): boolean {
    const leaf = this.#leaves.get(parsePattern(text).shape)
    if (leaf === undefined) return false
    this.#remove(leaf)
    return true
  }

  insertPrefix(text: unknown, value: number): void {
    const prefix = checkedPrefix(text)
    if (!this.#prefixes.has(prefix)) {
      const known = this.#prefixLengths.find(({ length }) => length === prefix.length)
      if (known !== undefined) known.count++
      else {
        this.#prefixLengths.push({ length: prefix.length, count: 1 })
        this.#prefixLengths.sort((a, b) => b.length - a.length)
      }
    }
    this.#prefixes.set(prefix, value)
  }

  deletePrefix(text: unknown): boolean {
    const prefix = checkedPrefix(text)
    if (!this.#prefixes.delete(prefix)) return false
    const known = this.#prefixLengths.find(({ length }) => length === prefix.length)
    if (known !== undefined && --known.count === 0) {
      this.#prefixLengths = this.#prefixLengths.filter(({ count }) => count > 0)
    }
    return true
  }

  /** Value of the longest prefix of a well-formed key, or -1. */
  longestPrefix(key: string): number {
    for (const { length } of this.#prefixLengths) {
      if (length > key.length) continue
      const value = this.#prefixes.get(key.slice(0, length))
      if (value !== undefined) return value
    }
    return -1
  }

  /** Value of the most specific pattern that matches a well-formed path, or -1; captures to `spans` when it has room. */
  match(path: string, spans: Uint32Array | undefined): number {
    this.#cut(path)
    const leaf = this.#search(this.#root, path, 0)
    if (leaf === undefined) return -1
    if (spans !== undefined) this.#fill(leaf, path, spans)
    return leaf.value
  }

  /** Capture names of a pattern id. */
  names(id: number): string[] | undefined {
    return this.#byId.get(id)?.pattern.captures.map(({ name }) => name)
  }

  #cut(path: string): void {
    let start = 0
    let count = 0
    for (;;) {
      const slash = path.indexOf('/', start)
      this.#edges[2 * count] = start
      this.#edges[2 * count + 1] = slash === -1 ? path.length : slash
      count++
      if (slash === -1) break
      start = slash + 1
    }
    this.#segments = count
  }

  #search(node: Node, path: string, depth: number): Leaf | undefined {
    if (depth === this.#segments) return node.leaf ?? restOf(node, path, path.length)
    const start = this.#edges[2 * depth] as number
    const end = this.#edges[2 * depth + 1] as number
    const literal = node.literals.get(path.slice(start, end))
    if (literal !== undefined) {
      const leaf = this.#search(literal, path, depth + 1)
      if (leaf !== undefined) return leaf
    }
    for (const { prefix, suffix, node: next } of node.affixes) {
      if (end - start <= prefix.length + suffix.length) continue
      if (!path.startsWith(prefix, start) || !path.startsWith(suffix, end - suffix.length)) continue
      const leaf = this.#search(next, path, depth + 1)
      if (leaf !== undefined) return leaf
    }
    return restOf(node, path, start)
  }

  #fill(leaf: Leaf, path: string, spans: Uint32Array): void {
    const { captures, segments } = leaf.pattern
    if (spans.length < 2 + 2 * captures.length) return
    spans[0] = leaf.id
    spans[1] = captures.length
    for (const [i, { first, prefix, last, suffix }] of captures.entries()) {
      // A rest of no segments starts and ends where the path does.
      const start = first < this.#segments ? (this.#edges[2 * first] as number) + prefix : path.length
      const end = segments[last]?.kind === 'rest' ? path.length : (this.#edges[2 * last + 1] as number)
      spans[2 + 2 * i] = start
      spans[3 + 2 * i] = end - suffix
    }
  }

  #attach(leaf: Leaf): void {
    let node = this.#root
    for (const segment of leaf.pattern.segments) {
      if (segment.kind === 'rest') {
        node.rests.push({ suffix: segment.suffix, leaf })
        node.rests.sort((a, b) => utf8Length(b.suffix) - utf8Length(a.suffix))
        return
      }
      node = childOf(node, segment) ?? addChild(node, segment)
    }
    node.leaf = leaf
  }

  #remove(leaf: Leaf): void {
    this.#leaves.delete(leaf.pattern.shape)
    this.#byId.delete(leaf.id)
    detach(this.#root, leaf, 0)
  }
}

function sameCaptures(a: Pattern, b: Pattern): boolean {
  return JSON.stringify(a.captures) === JSON.stringify(b.captures)
}

/** The `**` of this node that takes the path from `start`. */
function restOf(node: Node, path: string, start: number): Leaf | undefined {
  for (const { suffix, leaf } of node.rests) {
    if (suffix === '' || (path.length - suffix.length > start && path.endsWith(suffix))) return leaf
  }
  return undefined
}

function childOf(node: Node, segment: Exclude<Segment, { kind: 'rest' }>): Node | undefined {
  if (segment.kind === 'literal') return node.literals.get(segment.text)
  return node.affixes.find(({ prefix, suffix }) => prefix === segment.prefix && suffix === segment.suffix)?.node
}

function addChild(node: Node, segment: Exclude<Segment, { kind: 'rest' }>): Node {
  const child = newNode()
  if (segment.kind === 'literal') node.literals.set(segment.text, child)
  else {
    node.affixes.push({ prefix: segment.prefix, suffix: segment.suffix, node: child })
    node.affixes.sort(bySpecificity)
  }
  return child
}

/** Takes the leaf out, and on the way back every node that holds nothing any more. */
function detach(node: Node, leaf: Leaf, depth: number): void {
  const segment = leaf.pattern.segments[depth]
  if (segment === undefined) {
    node.leaf = undefined
    return
  }
  if (segment.kind === 'rest') {
    node.rests.splice(
      node.rests.findIndex((rest) => rest.leaf === leaf),
      1,
    )
    return
  }
  const child = childOf(node, segment)
  if (child === undefined) return
  detach(child, leaf, depth + 1)
  if (child.leaf !== undefined || child.literals.size + child.affixes.length + child.rests.length > 0) return
  if (segment.kind === 'literal') node.literals.delete(segment.text)
  else
    node.affixes.splice(
      node.affixes.findIndex((affix) => affix.node === child),
      1,
    )
}
