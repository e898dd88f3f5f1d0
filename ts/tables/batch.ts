/** Batches of strings cross the boundary as one string and the length of each. */
import { invalid, shown } from '../mesh/checks.js'

/** Strings of one crossing. */
const MOST_STRINGS = 4_096
/** UTF-16 units of one crossing: below what the addon reads at once, and small enough for its kept buffers. */
const MOST_UNITS = 2 ** 16

/** Says "none" in the answers of a batch. */
export const ABSENT = 0xffffffff

type LookUpMany = (joined: string, lengths: Uint32Array, out: Uint32Array) => number

/** Looks `texts` up in as few crossings as the limits allow. Keeps its array of lengths between calls. */
export class StringBatch {
  #lengths = new Uint32Array(64)

  /** Fills `out`, one answer per text; how many were found, or a negative status. */
  lookUp(texts: readonly string[], out: Uint32Array, many: LookUpMany): number {
    let found = 0
    for (let start = 0; start < texts.length; ) {
      const end = this.#cut(texts, start)
      const part = start === 0 && end === texts.length ? texts : texts.slice(start, end)
      const count = many(part.join(''), this.#lengths.subarray(0, end - start), out.subarray(start, end))
      if (count < 0) return count
      found += count
      start = end
    }
    return found
  }

  /** Notes the lengths of as many texts from `start` as one crossing takes; the end of them. */
  #cut(texts: readonly string[], start: number): number {
    const last = Math.min(texts.length, start + MOST_STRINGS)
    if (this.#lengths.length < last - start) this.#lengths = new Uint32Array(MOST_STRINGS)
    let units = 0
    let at = start
    for (; at < last; at++) {
      const text = texts[at]
      if (typeof text !== 'string') {
        throw invalid(`[${at}]`, `element ${at} of a batch must be a string, not ${shown(text)}`)
      }
      if (units + text.length > MOST_UNITS && at > start) break
      units += text.length
      this.#lengths[at - start] = text.length
    }
    return at
  }
}

/** The caller's array of answers, or a new one; it must have room for one per key. */
export function answersFor(count: number, out: Uint32Array | undefined): Uint32Array {
  if (out === undefined) return new Uint32Array(count)
  if (!(out instanceof Uint32Array)) throw invalid('out', `out must be a Uint32Array, not ${shown(out)}`)
  if (out.length < count) throw invalid('out', `out has room for ${out.length} values; ${count} are needed`, count)
  return out
}
