/** The account of a run, for people and as JSON, and whether it was a good one. */
import type { Backend } from '../../index.js'
import type { LoadReport } from '../load/messages.js'
import { time, whole } from './format.js'

export interface Summary {
  routed: number
  answered: number
  retried: number
  failed: number
  lost: number
  wrong: number
  skipped: number
  killed: number
  /** Processes, and how many of them ended before they were told to. */
  nodes: number
  nodesLost: number
  elapsedMs: number
  requestsPerSecond: number
  latency: LoadReport['latency']
  errors: LoadReport['errors']
  samples: string[]
  backend: Backend
}

export function summarize(
  report: LoadReport,
  retried: number,
  killed: number,
  nodes: { pids: readonly unknown[]; lost: number },
  backend: Readonly<Backend>,
): Summary {
  const { routed, answered, failed, lost, wrong, skipped, elapsedMs, latency, errors, samples } = report
  const requestsPerSecond = elapsedMs > 0 ? Math.round((routed / elapsedMs) * 1_000) : 0
  return {
    routed, answered, retried, failed, lost, wrong, skipped, killed, nodes: nodes.pids.length, nodesLost: nodes.lost, elapsedMs: Math.round(elapsedMs), requestsPerSecond,
    latency, errors, samples, backend: { ...backend },
  } // biome-ignore format: one field per line says nothing more
}

/** Every request was answered, and rightly or by an error that says what is true. */
export function isGood(summary: Summary): boolean {
  const { routed, answered, failed, lost, wrong } = summary
  return lost === 0 && wrong === 0 && answered + failed === routed
}

export function renderSummary(summary: Summary): string {
  const { latency } = summary
  const errors = Object.entries(summary.errors).map(([label, count]) => `${count} × ${label}`)
  return [
    '',
    `routed ${whole(summary.routed)} · answered ${whole(summary.answered)} · retried ${whole(summary.retried)} · failed ${whole(summary.failed)} · lost ${whole(summary.lost)} · wrong ${whole(summary.wrong)}`,
    `${(summary.elapsedMs / 1_000).toFixed(1)} s, ${whole(summary.requestsPerSecond)} requests/s`,
    `latency from the intended send time: p50 ${time(latency.p50Us)} · p99 ${time(latency.p99Us)} · p99.9 ${time(latency.p999Us)} · max ${time(latency.maxUs)}`,
    ...(summary.killed > 0 ? [`instances killed on the way: ${summary.killed}`] : []),
    ...(summary.nodes > 1 ? [`processes: ${summary.nodes}, lost on the way: ${summary.nodesLost}`] : []),
    ...(summary.skipped > 0 ? [`log lines that are no request: ${whole(summary.skipped)}`] : []),
    ...(errors.length > 0 ? [`errors: ${errors.join(', ')}`] : []),
    ...summary.samples.map((sample) => `  ${sample}`),
    `backend ${summary.backend.kind} (${summary.backend.reason.split('\n', 1)[0]})`,
    isGood(summary) ? 'every request was accounted for' : 'FAILED: requests were lost or answered wrongly',
    '',
  ].join('\n')
}
