/**
 * Reads what `file:consult/1` reads: terms, each ended by a full stop and white space. The grammar is that of the Erlang
 * reference manual, "Data Types" and "Character Set and Source File Encoding", for literal terms.
 */

/** An atom; everything else becomes what it is closest to: tuples are frozen arrays, maps are `Map`s. */
export class Atom {
  readonly name: string
  constructor(name: string) {
    this.name = name
  }
}
export type Term = Atom | number | string | Uint8Array | Term[] | readonly Term[] | Map<Term, Term>

const ESCAPES: Readonly<Record<string, number>> = { b: 8, d: 127, e: 27, f: 12, n: 10, r: 13, s: 32, t: 9, v: 11 }

/** All terms of a file. Throws a `SyntaxError` with the place. */
export function consult(text: string): Term[] {
  return new Reader(text).file()
}

class Reader {
  readonly #text: string
  #at = 0

  constructor(text: string) {
    this.#text = text
  }

  file(): Term[] {
    const terms: Term[] = []
    for (this.#space(); this.#at < this.#text.length; this.#space()) {
      terms.push(this.#term())
      this.#space()
      if (!/^\.(?:\s|%|$)/.test(this.#text.slice(this.#at, this.#at + 2))) throw this.#error('a full stop')
      this.#at++
    }
    return terms
  }

  #term(): Term {
    this.#space()
    const rest = this.#text.slice(this.#at, this.#at + 64)
    if (this.#take('<<')) return this.#binary()
    if (this.#take('#{')) return this.#map()
    if (this.#take('{')) return Object.freeze(this.#list('}'))
    if (this.#take('[')) return this.#list(']')
    if (rest.startsWith('"')) return String.fromCodePoint(...this.#quoted('"'))
    if (rest.startsWith("'")) return new Atom(String.fromCodePoint(...this.#quoted("'")))
    // A float needs digits on both sides of its point, also before an exponent.
    const float = /^-?\d+\.\d+(?:[eE][+-]?\d+)?/.exec(rest)
    const number = float ?? /^-?\d+(?![\w#.]*[eE#])/.exec(rest)
    if (number !== null) {
      this.#at += number[0].length
      return Number(number[0])
    }
    const atom = /^[a-z][\w@]*/.exec(rest)
    if (atom === null) throw this.#error('a term')
    this.#at += atom[0].length
    return new Atom(atom[0])
  }

  #list(end: string): Term[] {
    const items: Term[] = []
    this.#space()
    if (this.#take(end)) return items
    do items.push(this.#term())
    while (this.#comma())
    this.#expect(end)
    return items
  }

  #map(): Map<Term, Term> {
    const map = new Map<Term, Term>()
    this.#space()
    if (this.#take('}')) return map
    do {
      const key = this.#term()
      this.#expect('=>')
      map.set(
        key instanceof Uint8Array ? new TextDecoder().decode(key) : key instanceof Atom ? key.name : key,
        this.#term(),
      )
    } while (this.#comma())
    this.#expect('}')
    return map
  }

  /** `<<"text">>` is bytes, `<<"text"/utf8>>` its UTF-8 form. */
  #binary(): Uint8Array {
    this.#space()
    const points = this.#quoted('"')
    this.#space()
    const utf8 = this.#take('/utf8')
    this.#expect('>>')
    if (utf8) return new TextEncoder().encode(String.fromCodePoint(...points))
    if (points.some((point) => point > 255)) throw this.#error('bytes')
    return Uint8Array.from(points)
  }

  #quoted(quote: string): number[] {
    this.#expect(quote)
    const points: number[] = []
    for (;;) {
      const character = String.fromCodePoint(this.#text.codePointAt(this.#at) ?? 0)
      if (this.#at >= this.#text.length) throw this.#error(quote)
      this.#at += character.length
      if (character === quote) return points
      points.push(character === '\\' ? this.#escape() : (character.codePointAt(0) as number))
    }
  }

  #escape(): number {
    const rest = this.#text.slice(this.#at, this.#at + 12)
    const hex = /^x\{([0-9a-fA-F]+)\}|^x([0-9a-fA-F]{2})/.exec(rest)
    const octal = /^[0-7]{1,3}/.exec(rest)
    this.#at += (hex ?? octal)?.[0].length ?? 1
    if (hex !== null) return Number.parseInt((hex[1] ?? hex[2]) as string, 16)
    if (octal !== null) return Number.parseInt(octal[0], 8)
    return ESCAPES[rest[0] as string] ?? (rest.codePointAt(0) as number)
  }

  #comma(): boolean {
    this.#space()
    return this.#take(',')
  }

  #expect(token: string): void {
    this.#space()
    if (!this.#take(token)) throw this.#error(token)
  }

  #take(token: string): boolean {
    if (!this.#text.startsWith(token, this.#at)) return false
    this.#at += token.length
    return true
  }

  #space(): void {
    const space = /(?:\s|%[^\n]*)*/y
    space.lastIndex = this.#at
    this.#at += space.exec(this.#text)?.[0].length ?? 0
  }

  #error(wanted: string): SyntaxError {
    return new SyntaxError(
      `expected ${wanted} at ${this.#at}: ${JSON.stringify(this.#text.slice(this.#at, this.#at + 40))}`,
    )
  }
}
