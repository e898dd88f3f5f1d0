/** `linkmesh services`: what a running mesh has behind its names. */
import type { ServiceInfo } from '../binding/contract.js'
import { askRunning, type RunningChoice } from './running.js'
import { time, whole } from './up/format.js'

interface Answer {
  backend: { kind: string }
  services: ServiceInfo[]
}

export async function services(options: RunningChoice): Promise<void> {
  const answer = await askRunning<Answer>(options, '/services', async (session) => {
    const { backend, services } = await session.ask<Answer>('dump')
    return { backend, services }
  })
  if (options.json) {
    process.stdout.write(`${JSON.stringify(answer)}\n`)
    return
  }
  process.stdout.write(
    `${answer.services.length} services on the ${answer.backend.kind} backend\n${servicesText(answer.services)}\n`,
  )
}

/** A line a service, then one for each instance. */
export function servicesText(services: ServiceInfo[]): string {
  const lines = services.flatMap((service) => [
    `${service.name}  ${service.policy.balancer}  p50 ${time(service.latency.p50Us)}  p99 ${time(service.latency.p99Us)}  retries ${whole(service.retries)}  queued ${service.queued}`,
    ...service.instances.map((one) => {
      const name = one.metadata.instance ?? `#${one.handle}`
      const node = one.metadata['linkmesh.node']
      const where = one.address ?? (node === undefined ? `thread ${one.thread}` : `node ${node.slice(0, 8)}`)
      return `  ${name}  ${where}  ${one.health}  breaker ${one.breaker}  in flight ${one.inFlight}  picked ${whole(one.picked)}  failed ${whole(one.failed)}  ${time(one.latencyUs)}`
    }),
  ])
  return lines.join('\n')
}
