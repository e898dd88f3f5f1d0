/**
 * Where a key finds its members, nearest first: nginx's ketama ring and Maglev's table, point for point those of
 * `crates/routing/src/hashing`.
 */
import type { Balancer } from '../../contract.js'
import { fmix32 } from '../text.js'
import type { Member } from './membership.js'

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1
  return crc >>> 0
})

/** More bytes into an unfinished CRC-32. */
function update(crc: number, bytes: Iterable<number>): number {
  let sum = crc
  for (const byte of bytes) sum = ((CRC_TABLE[(sum ^ byte) & 255] as number) ^ (sum >>> 8)) >>> 0
  return sum
}

/** CRC-32 of some bytes, as zlib and nginx compute it. */
export function crc32(bytes: Uint8Array): number {
  return ~update(0xffffffff, bytes) >>> 0
}

/** Points per unit of weight. */
const POINTS = 160
/** Most points of a ring; heavier fleets get proportionally fewer each, one at least. */
const MOST_POINTS = 2 ** 18
/** Sizes of Maglev's table, prime. */
const SMALL = 65_537
const LARGE = 655_373

/** What a ring grows from for an address: host, a zero byte and port. */
export function seedOf(address: string): string {
  const scheme = address.indexOf('://')
  const authority = (scheme === -1 ? address : address.slice(scheme + 3)).split('/')[0] as string
  const colon = authority.lastIndexOf(':')
  return colon === -1 ? `${authority}\0` : `${authority.slice(0, colon)}\0${authority.slice(colon + 1)}`
}

interface Point {
  readonly hash: number
  readonly node: number
}

function ring(members: readonly Member[]): Point[] {
  const wanted = members.reduce((sum, member) => sum + member.weight * POINTS, 0)
  const points: Point[] = []
  members.forEach((member, node) => {
    let count = member.weight * POINTS
    if (wanted > MOST_POINTS) count = Math.max(Math.floor((count * MOST_POINTS) / wanted), 1)
    const seed = update(0xffffffff, Buffer.from(member.seed))
    let hash = 0
    for (let point = 0; point < count; point++) {
      hash = ~update(seed, [hash & 255, (hash >>> 8) & 255, (hash >>> 16) & 255, hash >>> 24]) >>> 0
      points.push({ hash, node })
    }
  })
  points.sort((a, b) => a.hash - b.hash || a.node - b.node)
  return points.filter((point, index) => index === 0 || point.hash !== points[index - 1]?.hash)
}

function maglev(members: readonly Member[]): Uint32Array {
  const size = members.length <= Math.floor(SMALL / 100) ? SMALL : LARGE
  const heaviest = members.reduce((most, member) => Math.max(most, member.weight), 1)
  const positions = members.map((member) => fmix32((member.affinity ^ 0x6d61676c) >>> 0) % size)
  const skips = members.map((member) => (fmix32(member.affinity) % (size - 1)) + 1)
  const due = members.map(() => 0)
  const free = 0xffffffff
  const table = new Uint32Array(size).fill(free)
  for (let filled = 0; filled < size; ) {
    for (let node = 0; node < members.length && filled < size; node++) {
      due[node] = (due[node] as number) + (members[node] as Member).weight
      if ((due[node] as number) < heaviest) continue
      due[node] = (due[node] as number) - heaviest
      let position = positions[node] as number
      while (table[position] !== free) position = (position + (skips[node] as number)) % size
      positions[node] = position
      table[position] = node
      filled += 1
    }
  }
  return table
}

/** A ring or a table over some members, made when the first key is looked for: many come one right after the other. */
export class HashTable {
  readonly #balancer: 'consistent-hash' | 'maglev'
  readonly #members: readonly Member[]
  #points: readonly Point[] | undefined
  #table: Uint32Array | undefined

  private constructor(balancer: 'consistent-hash' | 'maglev', members: readonly Member[]) {
    this.#balancer = balancer
    this.#members = members
  }

  /** For a balancer that needs one. */
  static of(balancer: Balancer, members: readonly Member[]): HashTable | undefined {
    if (members.length === 0 || (balancer !== 'consistent-hash' && balancer !== 'maglev')) return undefined
    return new HashTable(balancer, members)
  }

  /** Indexes of members, counted from the first of theirs, from a key's place on; each position once. */
  *walk(keyHash: number): Generator<number> {
    if (this.#balancer === 'consistent-hash') {
      this.#points ??= ring(this.#members)
      const points = this.#points
      let low = 0
      let high = points.length
      while (low < high) {
        const middle = (low + high) >>> 1
        if ((points[middle] as Point).hash < keyHash) low = middle + 1
        else high = middle
      }
      for (let step = 0; step < points.length; step++) yield (points[(low + step) % points.length] as Point).node
    } else {
      this.#table ??= maglev(this.#members)
      const table = this.#table
      const start = keyHash % table.length
      for (let step = 0; step < table.length; step++) yield table[(start + step) % table.length] as number
    }
  }
}
