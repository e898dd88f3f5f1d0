/** `linkmesh explain`: the next picks of a service, each with its candidates as they were. */
import type { Explanation, ServiceInfo } from '../binding/contract.js'
import { askGateway } from './gateway-client.js'
import { time } from './up/format.js'

interface Answer {
  service: string
  /** No request came while the gateway watched: it made one pick and gave it back. */
  trial: boolean
  picks: Explanation[]
}

export async function explain(service: string, options: { url: string; picks: number; json?: boolean }): Promise<void> {
  const query = new URLSearchParams({ service, picks: String(options.picks) })
  const answer = (await askGateway(options.url, `/explain?${query}`)) as Answer
  if (options.json) {
    process.stdout.write(`${JSON.stringify(answer)}\n`)
    return
  }
  const known = (await askGateway(options.url, '/services')) as { services: ServiceInfo[] }
  const names = new Map(
    known.services.flatMap((one) =>
      one.instances.map((i) => [i.handle, i.metadata.instance ?? i.address ?? `#${i.handle}`] as const),
    ),
  )
  const nameOf = (handle: number) => names.get(handle) ?? `#${handle}`
  if (answer.trial) process.stdout.write('No request came within a second, so one pick was made and given back.\n')
  for (const pick of answer.picks) {
    process.stdout.write(
      `${answer.service} → ${nameOf(pick.chosen)}  by ${pick.balancer}, retry budget ${pick.retryBudget.toFixed(1)}${pick.truncated ? ', more candidates than shown' : ''}\n`,
    )
    for (const one of pick.candidates) {
      const mark = one.instance === pick.chosen ? '›' : ' '
      const why = one.filter ?? (one.score === null ? 'eligible' : `score ${one.score.toPrecision(4)}`)
      process.stdout.write(
        `  ${mark} ${nameOf(one.instance).padEnd(16)} ${why.padEnd(20)} in flight ${one.inFlight}  latency ${time(one.latencyUs)}  breaker ${one.breaker}  ${one.health}\n`,
      )
    }
  }
}
