/** Random steps over id tables, radix arenas and rings, for the differential fuzz. */
import type { Pair } from './pair.js'
import type { Random } from './random.js'

const BAD_TEXTS = ['', '\ud800', 'a\udfff', '__proto__', 'a\0b', '\0', 'x'.repeat(65_537), 'é'.repeat(40_000), '\ufeff']
const ALPHABET = ['a', 'b', 'ab', 'é', '日本', '😀', '7', '-', '_', '.', ' ', 'constructor']
const BAD_NUMBERS = [Number.NaN, Number.POSITIVE_INFINITY, -1, 0.5, 2 ** 53, -(2 ** 53), 2 ** 32, 4294967295, -0]

export class TableSteps {
  readonly #pair: Pair
  readonly #random: Random
  readonly #ids: number[] = []
  readonly #arenas: number[] = []
  readonly #rings: number[] = []
  readonly #closed: number[] = []

  constructor(pair: Pair, random: Random) {
    this.#pair = pair
    this.#random = random
  }

  step(): void {
    const r = this.#random
    const kind = r.below(100)
    if (kind < 4) this.#open()
    else if (kind < 6) this.#close()
    else if (kind < 45) this.#idTable()
    else if (kind < 85) this.#arena()
    else this.#ring()
  }

  // --- opening and closing ----------------------------------------------------------------------------------

  #open(): void {
    const r = this.#random
    const name = r.chance(0.5) ? null : r.chance(0.1) ? r.of(BAD_TEXTS) : `fuzz-${r.below(4)}`
    const [list, handle] = this.#opened(name)
    if (handle > 0) list.push(handle)
  }

  #opened(name: string | null): [number[], number] {
    const r = this.#random
    switch (r.below(3)) {
      case 0:
        return [this.#ids, this.#pair.call('idTableOpen', name, r.chance(0.1) ? r.of(BAD_NUMBERS) : r.below(100))]
      case 1:
        return [this.#arenas, this.#pair.call('radixOpen', name)]
      default: {
        const capacity = r.chance(0.1) ? r.of([...BAD_NUMBERS, 63, 2 ** 28 + 1]) : 64 + r.below(2_000)
        return [this.#rings, this.#pair.call('ringOpen', name, r.below(2) as 0 | 1, capacity)]
      }
    }
  }

  #close(): void {
    const r = this.#random
    const list = r.of([this.#ids, this.#arenas, this.#rings, this.#closed])
    if (list.length === 0) return
    const [handle = 0] = list.splice(r.below(list.length), 1)
    this.#pair.call('tableClose', handle)
    this.#closed.push(handle)
  }

  /** An open handle of the kind, at times one of another kind, a closed one or a forged one. */
  #handle(list: readonly number[]): number {
    const r = this.#random
    if (r.chance(0.02)) return r.of([...this.#ids, ...this.#arenas, ...this.#rings, ...this.#closed, r.u32(), 0])
    return list.length === 0 ? 0 : r.of(list)
  }

  // --- id tables ----------------------------------------------------------------------------------------------

  #key(): string | number | Uint8Array {
    const r = this.#random
    const kind = r.below(10)
    if (kind < 5) return r.chance(0.03) ? r.of(BAD_TEXTS) : this.#text()
    if (kind < 8)
      return r.chance(0.1) ? r.of(BAD_NUMBERS) : r.chance(0.5) ? r.below(64) : r.below(64) * 2 ** 40 - 2 ** 44
    if (r.chance(0.5)) return new Uint8Array(Buffer.from(this.#text()))
    return Uint8Array.from({ length: r.below(4) }, () => r.of([0x61, 0xff, 0xc3, 0xa9, 0x80, 0xed, 0xa0]))
  }

  #text(): string {
    return this.#random.some(3, () => this.#random.of(ALPHABET)).join('') || 'a'
  }

  #value(): number {
    return this.#random.chance(0.03) ? this.#random.of(BAD_NUMBERS) : this.#random.below(1_000)
  }

  #idTable(): void {
    const r = this.#random
    const table = this.#handle(this.#ids)
    switch (r.below(9)) {
      case 0:
      case 1:
      case 2:
        return void this.#pair.call('idTableSet', table, this.#key(), this.#value())
      case 3:
        return void this.#pair.call('idTableDelete', table, this.#key())
      case 4: {
        const key = this.#key()
        if (typeof key === 'string') this.#pair.call('idTableGetString', table, key)
        else if (typeof key === 'number') this.#pair.call('idTableGetNumber', table, key)
        else this.#pair.call('idTableGetBytes', table, key)
        return
      }
      case 5: {
        const keys = Uint32Array.from(r.some(40, () => r.below(80)))
        return void this.#pair.call('idTableGetManyU32', table, keys, new Uint32Array(this.#room(keys.length)))
      }
      case 6: {
        const keys = BigUint64Array.from(
          r.some(40, () => BigInt.asUintN(64, BigInt(r.below(64)) * 2n ** 40n - 2n ** 44n)),
        )
        return void this.#pair.call('idTableGetManyU64', table, keys, new Uint32Array(this.#room(keys.length)))
      }
      case 7: {
        const { joined, lengths } = this.#joined(() => (r.chance(0.02) ? r.of(BAD_TEXTS) : this.#text()))
        return void this.#pair.call(
          'idTableGetManyStrings',
          table,
          joined,
          lengths,
          new Uint32Array(this.#room(lengths.length)),
        )
      }
      default:
        return void this.#pair.call('idTableSize', table)
    }
  }

  /** Room for so many answers; at times too little or more. */
  #room(count: number): number {
    const r = this.#random
    return r.chance(0.05) ? Math.max(0, count - 1) : r.chance(0.2) ? count + 3 : count
  }

  #joined(make: () => string): { joined: string; lengths: Uint32Array } {
    const texts = this.#random.some(20, make)
    const lengths = Uint32Array.from(texts, (text) => text.length)
    const joined = texts.join('')
    // At times the lengths promise more than there is.
    return { joined: this.#random.chance(0.03) ? joined.slice(1) : joined, lengths }
  }

  // --- radix arenas -------------------------------------------------------------------------------------------

  #segment(): string {
    const r = this.#random
    const word = () => r.of(['a', 'b', 'ab', 'é', '', 'x.json', 'v1', ':go', 'a:go'])
    const name = () => r.of(['x', 'y', 'z', 'id', '__proto__', 'a.b', '', 'é'])
    switch (r.below(14)) {
      case 0:
      case 1:
        return `:${name()}`
      case 2:
        return `{${name()}}`
      case 3:
        return '*'
      case 4:
        return `${r.of(['', 'v', 'é'])}{${name()}}${r.of(['', '.json', ':go', 'é', 'n'])}`
      case 5:
        return `{${name()}=${r.of(['*', 'a/*', 'a/*/b', '**', 'a/**', 'a', 'a/', '*/*', '{y}', 'a*'])}}${r.of(['', '', ':go', '.x'])}`
      case 6:
        return r.of(['**', '**:go', '*:go', '*.js', '*x', '***', 'a*', '{', '}', '{}', ':', ':a:b', ':a-:b', '{a}{b}'])
      default:
        return word()
    }
  }

  #pattern(): string {
    const r = this.#random
    if (r.chance(0.01))
      return r.of([
        ...BAD_TEXTS,
        '/a'.repeat(256),
        '/a'.repeat(255),
        '/:p'.padEnd(4_097, 'p'),
        '/*'.repeat(33),
        '/*'.repeat(32),
      ])
    const count = r.below(5)
    const segments = Array.from({ length: count }, () => this.#segment())
    if (r.chance(0.15)) segments.push('**')
    return r.of(['/', '/', '/', '']) + segments.join('/')
  }

  #path(): string {
    const r = this.#random
    if (r.chance(0.01)) return r.of(BAD_TEXTS)
    const segment = () =>
      r.of([
        'a',
        'b',
        'ab',
        'é',
        '',
        'x.json',
        'v1',
        'a:go',
        ':go',
        'vé.json',
        '日本😀',
        'n',
        'vn',
        '.js',
        'a.js',
        'éxé',
      ])
    return r.of(['/', '/', '/', '']) + Array.from({ length: r.below(6) }, segment).join('/')
  }

  #arena(): void {
    const r = this.#random
    const arena = this.#handle(this.#arenas)
    switch (r.below(11)) {
      case 0:
      case 1:
        return void this.#pair.call('radixInsert', arena, this.#pattern(), this.#value(), 0)
      case 2:
        return void this.#pair.call('radixInsert', arena, this.#text(), this.#value(), r.of([1, 1, 1, 2 as never]))
      case 3:
        return void this.#pair.call(
          'radixDelete',
          arena,
          r.chance(0.5) ? this.#pattern() : this.#text(),
          r.below(2) as 0 | 1,
        )
      case 4:
        return void this.#pair.call('radixLongestPrefix', arena, this.#text() + this.#text())
      case 5: {
        const { joined, lengths } = this.#joined(() => this.#path())
        return void this.#pair.call(
          'radixMatchMany',
          arena,
          joined,
          lengths,
          new Uint32Array(this.#room(lengths.length)),
        )
      }
      case 6:
        return void this.#pair.call('radixSize', arena)
      case 7:
        return void this.#pair.call(
          'radixMatch',
          arena,
          this.#path(),
          r.chance(0.5) ? undefined : new Uint32Array(r.below(6)),
        )
      default: {
        const spans = new Uint32Array(66)
        if (this.#pair.call('radixMatch', arena, this.#path(), spans) >= 0) {
          this.#pair.call('radixNames', arena, spans[0] as number)
        }
      }
    }
  }

  // --- rings --------------------------------------------------------------------------------------------------

  #ring(): void {
    const r = this.#random
    const ring = this.#handle(this.#rings)
    const kind = r.below(10)
    if (kind < 5)
      this.#pair.call(
        'ringPush',
        ring,
        Uint8Array.from({ length: r.below(r.chance(0.05) ? 4_000 : 60) }, () => r.below(256)),
      )
    else if (kind < 9) this.#pair.call('ringPop', ring, new Uint8Array(r.chance(0.1) ? 3 : 4_096))
    else this.#pair.call('ringLength', ring)
  }
}
