/**
 * From the text of a pattern to its segments and captures, as the specification in `crates/tables`, module `radix`,
 * says. What it does not allow is refused, with the place of the first wrong character.
 */
import { exceeded, type Failure, invalid } from './edge.js'
import { checkedText, utf8Length } from './text.js'

const MAX_BYTES = 4_096
const MAX_SEGMENTS = 256
/** Most captures, and most wildcards. */
const MAX_CAPTURES = 32

/** What one segment of a path must be. */
export type Segment =
  | { readonly kind: 'literal'; readonly text: string }
  /** `prefix`, one character or more, `suffix`. */
  | { readonly kind: 'one'; readonly prefix: string; readonly suffix: string }
  /** All that is left. With a suffix: one character or more, then `suffix`. */
  | { readonly kind: 'rest'; readonly suffix: string }

/** What one capture spans: from `prefix` units into the first segment to `suffix` units before the end of the last. */
export interface Capture {
  readonly name: string
  readonly first: number
  readonly prefix: number
  readonly last: number
  readonly suffix: number
}

export interface Pattern {
  readonly segments: readonly Segment[]
  readonly captures: readonly Capture[]
  /** Equal for patterns that match the same paths, whatever their captures are called. */
  readonly shape: string
}

const NAME_AFTER_COLON = /[A-Za-z0-9_]*/y
const NAME_IN_BRACES = /[A-Za-z0-9_.-]*/y

/** Understands a pattern, or throws the refusal. */
export function parsePattern(value: unknown): Pattern {
  const text = checkedText(value, 'pattern', MAX_BYTES)
  if (text === '') throw invalid('pattern', 'the pattern is empty')
  const nul = text.indexOf('\0')
  if (nul !== -1) throw wrong(text, nul, 'a NUL character')
  return new Parser(text).pattern()
}

function wrong(text: string, at: number, reason: string): Failure {
  return invalid('pattern', `at byte ${utf8Length(text.slice(0, at))}: ${reason}`)
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

class Parser {
  readonly #text: string
  #at = 0
  readonly #segments: Segment[] = []
  readonly #captures: Mutable<Capture>[] = []
  #wildcards = 0

  constructor(text: string) {
    this.#text = text
  }

  pattern(): Pattern {
    for (;;) {
      this.#segment()
      if (this.#at === this.#text.length) break
      this.#at++
    }
    return { segments: this.#segments, captures: this.#captures, shape: this.#segments.map(shapeOf).join('/') }
  }

  /** Reads to the next slash outside braces, or to the end. */
  #segment(): void {
    const start = this.#at
    let kind: Segment['kind'] = 'literal'
    let prefix = ''
    let suffix = ''
    let capture: Mutable<Capture> | undefined
    let afterColon = false
    while (this.#at < this.#text.length && this.#text[this.#at] !== '/') {
      const char = this.#text[this.#at] as string
      if (char === '{') {
        if (capture !== undefined) throw this.#wrong('a second capture in one segment')
        const braces = this.#braces(prefix)
        kind = braces.kind
        prefix = braces.prefix
        capture = braces.capture
      } else if (char === '}') {
        throw this.#wrong('a brace without its partner')
      } else if (char === '*') {
        if (this.#at !== start) throw this.#wrong('* must begin its segment')
        kind = this.#star()
        capture = this.#capture(kind === 'rest' ? '**' : '*', 0)
        if (/[A-Za-z0-9_*]/.test(this.#text[this.#at] ?? '')) throw this.#wrong('no name may follow *: write {name=**}')
      } else if (char === ':' && this.#at === start) {
        this.#at++
        const name = this.#run(NAME_AFTER_COLON)
        if (name === '') throw this.#wrong('a capture needs a name')
        this.#countWildcard()
        kind = 'one'
        capture = this.#capture(name, 0)
        afterColon = true
      } else if (char === ':' && afterColon && suffix !== '') {
        throw this.#wrong('a second capture in one segment')
      } else {
        this.#at++
        if (capture === undefined) prefix += char
        else suffix += char
      }
    }
    if (capture !== undefined) {
      capture.last = this.#segments.length
      capture.suffix = suffix.length
    }
    this.#push(kind, prefix, suffix, start)
  }

  /** Reads `{name}` or `{name=template}`. The template's last segment stays open: a suffix may follow the brace. */
  #braces(before: string): { kind: Segment['kind']; prefix: string; capture: Mutable<Capture> } {
    const open = this.#at
    this.#at++
    const name = this.#run(NAME_IN_BRACES)
    const next = this.#text[this.#at]
    if (next === undefined) throw wrong(this.#text, open, 'a brace without its partner')
    if (next !== '}' && next !== '=') throw this.#wrong('a name in braces has only letters, digits and _ . -')
    if (name === '') throw this.#wrong('a capture needs a name')
    const capture = this.#capture(name, before.length)
    this.#at++
    if (next === '}') {
      this.#countWildcard()
      return { kind: 'one', prefix: before, capture }
    }
    if (before !== '' && !this.#text.startsWith('*}', this.#at)) {
      throw wrong(this.#text, open, 'text before braces is allowed for {name} and {name=*} only')
    }
    for (;;) {
      const start = this.#at
      const { kind, text } = this.#templateSegment(open)
      const prefix = before + text
      if (this.#text[this.#at++] === '}') return { kind, prefix, capture }
      this.#push(kind, prefix, '', start)
    }
  }

  /** Reads one segment inside braces, up to its `/` or `}`. */
  #templateSegment(open: number): { kind: Segment['kind']; text: string } {
    const start = this.#at
    let kind: Segment['kind'] = 'literal'
    for (;;) {
      const char = this.#text[this.#at]
      if (char === undefined) throw wrong(this.#text, open, 'a brace without its partner')
      if (char === '/' || char === '}') {
        if (this.#at === start) throw this.#wrong('an empty segment inside braces')
        return { kind, text: kind === 'literal' ? this.#text.slice(start, this.#at) : '' }
      }
      if (char === '{') throw this.#wrong('a brace without its partner')
      if (char === '*') {
        if (this.#at !== start) throw this.#wrong('* must be a whole segment inside braces')
        kind = this.#star()
        if (this.#at < this.#text.length && !/[/}]/.test(this.#text[this.#at] as string)) {
          throw this.#wrong('* must be a whole segment inside braces')
        }
      } else this.#at++
    }
  }

  #star(): 'one' | 'rest' {
    this.#countWildcard()
    const rest = this.#text.startsWith('**', this.#at)
    this.#at += rest ? 2 : 1
    return rest ? 'rest' : 'one'
  }

  #countWildcard(): void {
    if (++this.#wildcards > MAX_CAPTURES) throw tooMany('captures and wildcards', MAX_CAPTURES)
  }

  #run(characters: RegExp): string {
    characters.lastIndex = this.#at
    const found = characters.exec(this.#text)?.[0] ?? ''
    this.#at += found.length
    return found
  }

  /** A capture that begins in the segment being read. */
  #capture(name: string, prefix: number): Mutable<Capture> {
    if (this.#captures.length === MAX_CAPTURES) throw tooMany('captures and wildcards', MAX_CAPTURES)
    if (!name.startsWith('*') && this.#captures.some((other) => other.name === name)) {
      throw this.#wrong(`an earlier capture is called ${name}`)
    }
    const first = this.#segments.length
    const capture = { name, first, prefix, last: first, suffix: 0 }
    this.#captures.push(capture)
    return capture
  }

  #push(kind: Segment['kind'], prefix: string, suffix: string, start: number): void {
    if (this.#segments.at(-1)?.kind === 'rest') throw wrong(this.#text, start, '** must be in the last segment')
    if (this.#segments.length === MAX_SEGMENTS) throw tooMany('segments', MAX_SEGMENTS)
    if (kind === 'literal') this.#segments.push({ kind, text: prefix + suffix })
    else if (kind === 'one') this.#segments.push({ kind, prefix, suffix })
    else this.#segments.push({ kind, suffix })
  }

  #wrong(reason: string): Failure {
    return wrong(this.#text, this.#at, reason)
  }
}

function tooMany(what: string, most: number): Failure {
  return exceeded('pattern', `a pattern has at most ${most} ${what}`, most)
}

/** No pattern has a NUL, so no text can imitate a wildcard. */
function shapeOf(segment: Segment): string {
  if (segment.kind === 'literal') return segment.text
  if (segment.kind === 'one') return `${segment.prefix}\0one\0${segment.suffix}`
  return `\0rest\0${segment.suffix}`
}
