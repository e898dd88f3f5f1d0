/** Reads access logs in the common and combined formats, plain or gzipped, within bounds. */
import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import { createGunzip } from 'node:zlib'
import type { LogEntry } from '../../config/load-profile.js'

const LINE =
  /^\S+ \S+ \S+ \[(\d{2})\/([A-Z][a-z]{2})\/(\d{4}):(\d{2}):(\d{2}):(\d{2}) ([+-])(\d{2})(\d{2})\] "([A-Z]+) (\S+)(?: HTTP\/\d(?:\.\d)?)?" (\d{3}) (?:\d+|-)(?: "[^"]*" "([^"]*)"?)?\s*$/
const MONTHS = 'JanFebMarAprMayJunJulAugSepOctNovDec'
export const LOG_LINES_MAX = 5_000_000
const LINE_LENGTH_MAX = 65_536

/** One line as an entry, or null when it is in neither format. */
export function parseLogLine(line: string): LogEntry | null {
  if (line.length > LINE_LENGTH_MAX) return null
  const parts = LINE.exec(line)
  if (!parts) return null
  const [, day, month, year, hour, minute, second, sign, zoneHours, zoneMinutes, method, target, status, agent] = parts
  const monthIndex = MONTHS.indexOf(month as string)
  if (monthIndex < 0 || monthIndex % 3 !== 0) return null
  const local = Date.UTC(Number(year), monthIndex / 3, Number(day), Number(hour), Number(minute), Number(second))
  const offset = (Number(zoneHours) * 3_600 + Number(zoneMinutes) * 60) * (sign === '-' ? -1 : 1)
  return {
    method: method as string,
    target: target as string,
    timeSeconds: local / 1_000 - offset,
    status: Number(status),
    userAgent: agent ?? '',
  }
}

export interface AccessLog {
  /** In the order of their time stamps; entries of one second keep their order in the file. */
  entries: LogEntry[]
  /** Lines in neither format. */
  unreadable: number
}

/**
 * Reads a log, at most `limit` lines of it.
 *
 * @throws what the file system and gunzip throw, with the file's name in the message
 */
export async function readAccessLog(file: string, limit: number = LOG_LINES_MAX): Promise<AccessLog> {
  const bytes = createReadStream(file)
  const text = file.endsWith('.gz') ? bytes.pipe(createGunzip()) : bytes
  // A pipe does not hand on the error of its source.
  bytes.on('error', (error) => text.destroy(error))
  const lines = createInterface({ input: text, crlfDelay: Number.POSITIVE_INFINITY })
  const failed = new Promise<never>((_, reject) => text.on('error', reject))
  const read = async (): Promise<AccessLog> => {
    const entries: LogEntry[] = []
    let unreadable = 0
    for await (const line of lines) {
      if (entries.length + unreadable >= limit) break
      if (line === '') continue
      const entry = parseLogLine(line)
      if (entry) entries.push(entry)
      else unreadable++
    }
    entries.sort((a, b) => a.timeSeconds - b.timeSeconds)
    return { entries, unreadable }
  }
  try {
    return await Promise.race([read(), failed])
  } catch (cause) {
    throw new Error(`${file} could not be read as an access log: ${(cause as Error).message}`, { cause })
  } finally {
    bytes.destroy()
  }
}
