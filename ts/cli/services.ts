/** `linkmesh services`: what a running gateway has behind it. */
import type { ServiceInfo } from '../binding/contract.js'
import { askGateway } from './gateway-client.js'
import { time, whole } from './up/format.js'

export async function services(options: { url: string; json?: boolean }): Promise<void> {
  const answer = (await askGateway(options.url, '/services')) as { backend: { kind: string }; services: ServiceInfo[] }
  if (options.json) {
    process.stdout.write(`${JSON.stringify(answer)}\n`)
    return
  }
  const lines = answer.services.flatMap((service) => [
    `${service.name}  ${service.policy.balancer}  p50 ${time(service.latency.p50Us)}  p99 ${time(service.latency.p99Us)}  retries ${whole(service.retries)}  queued ${service.queued}`,
    ...service.instances.map((one) => {
      const name = one.metadata.instance ?? `#${one.handle}`
      const where = one.address ?? `thread ${one.thread}`
      return `  ${name}  ${where}  ${one.health}  breaker ${one.breaker}  in flight ${one.inFlight}  picked ${whole(one.picked)}  failed ${whole(one.failed)}  ${time(one.latencyUs)}`
    }),
  ])
  process.stdout.write(
    `${answer.services.length} services on the ${answer.backend.kind} backend\n${lines.join('\n')}\n`,
  )
}
