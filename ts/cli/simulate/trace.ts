/** Arrivals from a file of the user's: JSON lines, or an access log. */
import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import { createGunzip } from 'node:zlib'
import { createFallback } from '../../binding/fallback/index.js'
import { readAccessLog } from '../load/access-log.js'
import { UsageError } from '../output.js'

/** Time from the first arrival, milliseconds, and the key; 0 = none. */
export type Arrival = readonly [number, number]

const ARRIVALS_MAX = 1_000_000
const LINE_MAX = 1 << 20

/**
 * A JSON line has its time in `timeMs` or `timestamp` (milliseconds) and may have a `key`, or `hash_ids` of which the
 * second is taken: the first block of an LLM request is the system prompt that all of a tenant share. An access log's
 * key is its path; its seconds are spread evenly, as they say no more.
 */
export async function readTrace(file: string): Promise<Arrival[]> {
  const { hashKey } = createFallback()
  const arrivals = /\.jsonl(\.gz)?$/.test(file) ? await readLines(file, hashKey) : await readLog(file, hashKey)
  if (arrivals.length === 0) throw new UsageError(`${file} holds no arrival`)
  arrivals.sort((a, b) => a[0] - b[0])
  const first = (arrivals[0] as Arrival)[0]
  return arrivals.map(([atMs, key]) => [atMs - first, key])
}

async function readLines(file: string, hashKey: (key: string) => number): Promise<Arrival[]> {
  const bytes = createReadStream(file)
  const text = file.endsWith('.gz') ? bytes.pipe(createGunzip()) : bytes
  // A pipe does not hand on the error of its source.
  bytes.on('error', (error) => text.destroy(error))
  const arrivals: Arrival[] = []
  let number = 0
  for await (const line of createInterface({ input: text, crlfDelay: Number.POSITIVE_INFINITY })) {
    number += 1
    if (line === '') continue
    if (line.length > LINE_MAX) throw new UsageError(`${file}:${number} is longer than ${LINE_MAX} characters`)
    if (arrivals.length === ARRIVALS_MAX) throw new UsageError(`${file} has more than ${ARRIVALS_MAX} arrivals`)
    arrivals.push(arrivalOf(line, `${file}:${number}`, hashKey))
  }
  return arrivals
}

function arrivalOf(line: string, place: string, hashKey: (key: string) => number): Arrival {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch {
    throw new UsageError(`${place} is not JSON`)
  }
  const { timeMs, timestamp, key, hash_ids: blocks } = (value ?? {}) as Record<string, unknown>
  const atMs = timeMs ?? timestamp
  if (typeof atMs !== 'number' || !Number.isFinite(atMs) || atMs < 0)
    throw new UsageError(`${place} has no timeMs or timestamp, a number of milliseconds`)
  const word = key ?? (Array.isArray(blocks) ? (blocks[1] ?? blocks[0]) : undefined)
  return [atMs, word === undefined || word === null ? 0 : hashKey(String(word))]
}

async function readLog(file: string, hashKey: (key: string) => number): Promise<Arrival[]> {
  const { entries } = await readAccessLog(file, ARRIVALS_MAX)
  const perSecond = new Map<number, number>()
  for (const { timeSeconds } of entries) perSecond.set(timeSeconds, (perSecond.get(timeSeconds) ?? 0) + 1)
  const seen = new Map<number, number>()
  return entries.map(({ timeSeconds, target }) => {
    const nth = seen.get(timeSeconds) ?? 0
    seen.set(timeSeconds, nth + 1)
    const offset = (nth / (perSecond.get(timeSeconds) as number)) * 1_000
    return [timeSeconds * 1_000 + offset, hashKey(target.split('?')[0] as string)]
  })
}
