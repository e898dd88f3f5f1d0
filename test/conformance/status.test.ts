/** The numbers that cross the boundary are the same in Rust and in TypeScript. */
import { existsSync, readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { Outcome, SCRATCH_WORDS, Status } from '../../ts/binding/contract.js'

const place = (path: string) => new URL(`../../crates/${path}`, import.meta.url)
const source = (path: string) => readFileSync(place(path), 'utf8')

/** Compares with a Rust source; counted as skipped where there is none. */
function comparing(what: string, path: string, work: (text: string) => void): void {
  it.skipIf(!existsSync(place(path)))(`${what} as in crates/${path}`, () => work(source(path)))
}

/** Variants with explicit numbers of a Rust enum: `Name = -1,`. */
function variants(text: string, name: string): Record<string, number> {
  const body = new RegExp(`pub enum ${name} \\{([^}]*)\\}`).exec(text)?.[1]
  expect(body, `pub enum ${name}`).toBeDefined()
  return Object.fromEntries(
    [...(body as string).matchAll(/^\s*([A-Z]\w*) = (-?\d+),/gm)].map(([, key, value]) => [key, Number(value)]),
  )
}

comparing('Status', 'registry/src/status.rs', (text) => {
  expect(variants(text, 'Status')).toEqual(Status)
})

comparing('Outcome', 'routing/src/outcome.rs', (text) => {
  expect(variants(text, 'Outcome')).toEqual(Outcome)
})

comparing('words in the scratch array', 'node/src/state.rs', (text) => {
  expect(Number(/SCRATCH_WORDS: usize = (\d+)/.exec(text)?.[1])).toBe(SCRATCH_WORDS)
})
