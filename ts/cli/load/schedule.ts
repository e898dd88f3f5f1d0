/** When each request is meant to be sent. */
import type { LoadProfile, LoadRequest, LogEntry, Random } from '../../config/load-profile.js'

export interface Planned {
  request: LoadRequest
  /** Milliseconds after the start; NaN = as soon as there is room. */
  atMs: number
}

/** The next request, null when there are no more, `skip` for a log line that maps on nothing. */
export type Schedule = () => Planned | 'skip' | null

/** A seeded mix with exponential gaps: a Poisson process, as independent users make it. */
export function mixSchedule(
  profile: LoadProfile,
  random: Random,
  rate: number | 'max',
  requests: number | null,
): Schedule {
  let sent = 0
  let atMs = 0
  return () => {
    if (requests !== null && sent >= requests) return null
    sent++
    if (rate === 'max') return { request: profile.next(random), atMs: Number.NaN }
    atMs += (-Math.log(1 - random()) / rate) * 1_000
    return { request: profile.next(random), atMs }
  }
}

/** A log at its own pace times `speed`; requests of one second (the log's resolution) are spread evenly over it. */
export function logSchedule(profile: LoadProfile, entries: readonly LogEntry[], speed: number | 'max'): Schedule {
  const first = entries[0]?.timeSeconds ?? 0
  let index = 0
  let secondStart = 0
  let secondLength = 0
  return () => {
    const entry = entries[index]
    if (!entry) return null
    if (index >= secondStart + secondLength) {
      secondStart = index
      secondLength = 1
      while (entries[secondStart + secondLength]?.timeSeconds === entry.timeSeconds) secondLength++
    }
    const within = (index - secondStart) / secondLength
    index++
    const request = profile.fromLog?.(entry) ?? null
    if (!request) return 'skip'
    return { request, atMs: speed === 'max' ? Number.NaN : ((entry.timeSeconds - first + within) * 1_000) / speed }
  }
}
