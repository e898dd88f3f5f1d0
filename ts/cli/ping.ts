/** `linkmesh ping`: how long it takes to a node's engine and back, and which way. */
import { setTimeout as wait } from 'node:timers/promises'
import type { PingInfo } from '../binding/contract-node.js'
import { LinkmeshError } from '../errors.js'
import { type AddressOptions, withNode } from './node.js'
import { EXIT } from './output.js'

export interface PingCommandOptions extends AddressOptions {
  count: number
  interval: number
}

/** Round trips in microseconds. */
export interface PingSummary {
  address: string
  nodeId: string | null
  sent: number
  received: number
  /** Share of pings without an answer. */
  loss: number
  /** The ways that were taken. */
  paths: PingInfo['path'][]
  rttUs: { min: number; mean: number; p50: number; p90: number; p99: number; p999: number; max: number } | null
  /** Of the connection: QUIC sends what is lost again, so a ping is late before it is lost. */
  packets: { sent: number; lost: number }
}

/** The value below which `share` of the sorted ones are: the nearest rank, so it is one that was measured. */
export const percentile = (sorted: readonly number[], share: number): number =>
  sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] as number

export function summarize(address: string, sent: number, answers: readonly PingInfo[]): PingSummary {
  const sorted = answers.map(({ rttUs }) => rttUs).sort((a, b) => a - b)
  const at = (share: number) => percentile(sorted, share)
  const last = answers.at(-1)
  return {
    address,
    nodeId: last?.nodeId ?? null,
    sent,
    received: answers.length,
    loss: sent === 0 ? 0 : (sent - answers.length) / sent,
    paths: [...new Set(answers.map(({ path }) => path))],
    rttUs:
      sorted.length === 0
        ? null
        : {
            min: at(0),
            mean: sorted.reduce((sum, one) => sum + one, 0) / sorted.length,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: at(1),
          },
    packets: { sent: last?.sentPackets ?? 0, lost: last?.lostPackets ?? 0 },
  }
}

const ms = (microseconds: number) => `${(microseconds / 1_000).toFixed(3)} ms`

function describe({ address, nodeId, sent, received, loss, paths, rttUs, packets }: PingSummary): string[] {
  const lines = [
    '',
    `${address}${nodeId === null ? '' : `  ${nodeId}`}`,
    `${sent} sent, ${received} answered, ${(loss * 100).toFixed(1)} % lost; ${packets.lost} of ${packets.sent} packets sent again`,
  ]
  if (rttUs === null) return lines
  const { min, mean, p50, p90, p99, p999, max } = rttUs
  return [
    ...lines,
    `way ${paths.join(', ')}`,
    `min ${ms(min)}  mean ${ms(mean)}  max ${ms(max)}`,
    `p50 ${ms(p50)}  p90 ${ms(p90)}  p99 ${ms(p99)}  p99.9 ${ms(p999)}`,
  ]
}

export async function ping(address: string, options: PingCommandOptions): Promise<void> {
  const { count, interval, json } = options
  const say = (value: object, line: string) => process.stdout.write(`${json ? JSON.stringify(value) : line}\n`)
  const interrupt = new AbortController()
  const stop = () => interrupt.abort()
  process.once('SIGINT', stop)
  try {
    const summary = await withNode(address, options, async (node) => {
      const answers: PingInfo[] = []
      let sent = 0
      while (sent < count && !interrupt.signal.aborted) {
        if (sent > 0 && interval > 0)
          await wait(interval, undefined, { signal: interrupt.signal }).catch(() => undefined)
        if (interrupt.signal.aborted) break
        sent += 1
        try {
          const answer = await node.ping()
          answers.push(answer)
          say({ sequence: sent, ...answer }, `${sent}  ${ms(answer.rttUs)}  ${answer.path}  ${answer.address}`)
        } catch (error) {
          // Nothing came back, now: that is what a ping is for. Anything else is a mistake in the question.
          if (
            !(
              error instanceof LinkmeshError &&
              (error.code === 'LM_DEADLINE_EXCEEDED' || error.code === 'LM_NODE_LOST')
            )
          )
            throw error
          say({ sequence: sent, lost: error.code }, `${sent}  lost: ${error.message}`)
        }
      }
      return summarize(address, sent, answers)
    })
    process.stdout.write(json ? `${JSON.stringify(summary)}\n` : `${describe(summary).join('\n')}\n`)
    if (summary.received === 0) process.exitCode = EXIT.failed
  } finally {
    process.off('SIGINT', stop)
  }
}
