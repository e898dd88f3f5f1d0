/** Every route of three real APIs finds itself among all others, with its parameters. */
import { existsSync, readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { LinkmeshError } from '../../ts/errors.js'
import { CompressedRadixArena, SPANS_LENGTH } from '../../ts/tables.js'

const data = process.env.LINKMESH_DATA ?? resolve(import.meta.dirname, '../../../shared/data')

/** Lines of a data file, without the HTTP method. Equal paths with other methods are one pattern here. */
function patternsOf(file: string): string[] {
  const raw = readFileSync(resolve(data, 'routes', file))
  const text = (file.endsWith('.gz') ? gunzipSync(raw) : raw).toString()
  const paths = text.split('\n').map((line) => line.replace(/^[A-Z]+ /, '').trim())
  return [...new Set(paths.filter((path) => path !== ''))]
}

/** The same wildcards without names: patterns of one shape are one pattern. */
function shape(pattern: string): string {
  return pattern
    .replace(/\{[^{}=]*=([^{}]*)\}/g, '$1')
    .replace(/\{[^{}]*\}/g, '*')
    .replace(/(^|\/):\w+/g, '$1*')
}

/** A path that the pattern matches: `*` becomes a word that no route has as text, `**` two of them. */
function filled(pattern: string): string {
  let words = 0
  return shape(pattern).replace(/\*\*?/g, (star) => (star === '*' ? `zq${words++}` : `zq${words++}/zq${words++}`))
}

/** An independent matcher: the shape as a regular expression. */
function expression(pattern: string): RegExp {
  const source = shape(pattern)
    .replace(/[.+?^${}()|[\]\\]/g, '\\$&')
    .replace(/\/\*\*$/, '(?:/.*)?')
    .replace(/\*\*/g, '.+')
    .replace(/(?<![.)])\*/g, '[^/]+')
  return new RegExp(`^${source}$`)
}

/** GitLab's wildcards of several segments stand in the middle too, where `**` may not: there they take one segment. */
const gitlab = (line: string) => line.replace(/<\*(\w+)>$/, '{$1=**}').replace(/<\*?(\w+)>/g, '{$1}')

describe.each([
  ['github.txt', (line: string) => line, 0],
  ['gitlab.txt', gitlab, 0.01],
  ['googleapis-http.txt.gz', (line: string) => line, 0.01],
] as const)('%s', (file, rewrite, mostRefused) => {
  const there = existsSync(resolve(data, 'routes', file))
  it.skipIf(!there)(there ? 'every route finds itself' : `no ${file} in ${data}`, { timeout: 60_000 }, () => {
    const patterns = patternsOf(file).map(rewrite)
    using routes = new CompressedRadixArena()
    const byShape = new Map<string, number>()
    let refused = 0
    for (const [i, pattern] of patterns.entries()) {
      try {
        routes.insert(pattern, i)
        byShape.set(shape(pattern), i)
      } catch (error) {
        // A rest in the middle and two captures in one segment are refused, and nothing else is.
        expect(error).toBeInstanceOf(LinkmeshError)
        expect((error as LinkmeshError).code).toBe('LM_INVALID_ARGUMENT')
        expect(pattern).toMatch(/\*\*.*\/|\}[^/]*\{/)
        refused++
      }
    }
    expect(refused).toBeLessThanOrEqual(patterns.length * mostRefused)
    expect(routes.size).toBe(byShape.size)
    const spans = new Uint32Array(SPANS_LENGTH)
    const paths: string[] = []
    let others = 0
    for (const [written, own] of byShape) {
      const path = filled(written)
      paths.push(path)
      const value = routes.match(path, spans)
      const winner = patterns[value] as string
      if (value !== own) {
        // Something more specific may win; then it has to match as well.
        others++
        expect(path).toMatch(expression(winner))
      }
      for (const [name, text] of Object.entries(routes.params(path, spans))) {
        expect(text, `${name} of ${winner} in ${path}`).toMatch(/^zq\d+|\/zq\d+|[^/]/)
        expect(path).toContain(text)
      }
    }
    expect(others).toBeLessThan(byShape.size * 0.05)
    expect([...routes.matchMany(paths)]).toEqual(paths.map((path) => routes.match(path)))
    console.log(`${file}: ${byShape.size} patterns, ${refused} refused, ${others} won by a more specific one`)
    for (const own of byShape.values()) expect(routes.delete(patterns[own] as string)).toBe(true)
    expect(routes.size).toBe(0)
  })
})
