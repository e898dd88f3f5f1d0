/** `linkmesh explain`: the next picks of a service, each with its candidates as they were. */
import type { AdminSession } from '../admin.js'
import type { Explanation, ServiceInfo } from '../binding/contract.js'
import { adminSession } from './admin.js'
import { UsageError } from './output.js'
import { askRunning, type RunningChoice } from './running.js'
import { time } from './up/format.js'

/** How long picks are waited for by the socket; the gateway waits as long. */
const WAIT_MS = 1_000
const DEFAULT_PICKS = 5
const MAX_PICKS = 20

interface Answer {
  service: string
  /** No request came while the gateway watched: it made one pick and gave it back. */
  trial: boolean
  picks: Explanation[]
}

export interface ExplainOptions extends RunningChoice {
  /** Default 5; with `follow`, no end. */
  picks?: number
  /** Picks as they are made, until interrupted or so many as `picks` says. */
  follow?: boolean
}

export async function explain(service: string, options: ExplainOptions): Promise<void> {
  if (options.follow) {
    await follow(service, options)
    return
  }
  const wanted = options.picks ?? DEFAULT_PICKS
  if (wanted > MAX_PICKS) throw new UsageError(`--picks is at most ${MAX_PICKS}; more with --follow`)
  const query = new URLSearchParams({ service, picks: String(wanted) })
  const answer = await askRunning<Answer>(options, `/explain?${query}`, async (session) => ({
    service,
    trial: false,
    picks: await nextPicks(session, service, wanted),
  }))
  if (options.json) {
    process.stdout.write(`${JSON.stringify(answer)}\n`)
    return
  }
  const known = await askRunning<{ services: ServiceInfo[] }>(options, '/services', async (session) => ({
    services: await session.ask<ServiceInfo[]>('list'),
  }))
  if (answer.trial) process.stdout.write('No request came within a second, so one pick was made and given back.\n')
  if (answer.picks.length === 0) process.stdout.write('No request came within a second.\n')
  printPicks(answer.picks, known.services)
}

async function follow(service: string, options: ExplainOptions): Promise<void> {
  const session = await adminSession(options)
  try {
    const services = await session.ask<ServiceInfo[]>('list')
    let left = options.picks ?? Number.POSITIVE_INFINITY
    for await (const pick of session.follow<Explanation>('picks', { service })) {
      if (options.json) process.stdout.write(`${JSON.stringify(pick)}\n`)
      else printPicks([pick], services)
      if (--left <= 0) return
    }
  } finally {
    session.close()
  }
}

/** Fewer when the time runs out. */
async function nextPicks(session: AdminSession, service: string, most: number): Promise<Explanation[]> {
  const picks: Explanation[] = []
  const following = session.follow<Explanation>('picks', { service })
  const timer = setTimeout(() => session.cancelAll(), WAIT_MS)
  try {
    for await (const pick of following) if (picks.push(pick) >= most) break
  } finally {
    clearTimeout(timer)
  }
  return picks
}

function printPicks(picks: Explanation[], services: ServiceInfo[]): void {
  const names = new Map(
    services.flatMap((one) =>
      one.instances.map((i) => [i.handle, i.metadata.instance ?? i.address ?? `#${i.handle}`] as const),
    ),
  )
  const nameOf = (handle: number) => names.get(handle) ?? `#${handle}`
  for (const pick of picks) {
    process.stdout.write(
      `${pick.service} → ${nameOf(pick.chosen)}  by ${pick.balancer}, ${pick.qos}${pick.hedge ? ', hedge' : ''}, retry budget ${pick.retryBudget.toFixed(1)}${pick.rest > 0 ? `, ${pick.rest} more not shown` : ''}\n`,
    )
    for (const one of pick.candidates) {
      // With a key: in which order they were asked. Of who was not asked it is said how he is now.
      const order = pick.keyHash === 0 ? '' : `${one.asked ?? '–'}`.padStart(2).concat(' ')
      const mark = one.instance === pick.chosen ? '›' : ' '
      const why = one.filter ?? (one.score === null ? 'eligible' : `score ${one.score.toPrecision(4)}`)
      process.stdout.write(
        `  ${mark} ${order}${nameOf(one.instance).padEnd(16)} ${why.padEnd(20)} in flight ${one.inFlight}  latency ${time(one.latencyUs)}  breaker ${one.breaker}  ${one.health}\n`,
      )
    }
  }
}
