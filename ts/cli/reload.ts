/** `linkmesh reload`: asks a running `linkmesh up` to read its config again, and shows what became of it. */
import { userInfo } from 'node:os'
import { describeChange } from '../config/changes.js'
import type { AnswerWindow } from '../reload/bounds.js'
import type { ShadowReport } from '../reload/shadow.js'
import { adminSession, type MeshChoice } from './admin.js'
import { EXIT } from './output.js'
import { time } from './up/format.js'
import type { ReloadReport } from '../reload/report.js'

export interface ReloadOptions extends MeshChoice {
  /** Check, compare and evaluate, and change nothing. */
  dryRun?: boolean
}

export async function reload(options: ReloadOptions): Promise<void> {
  const session = await adminSession(options)
  let report: ReloadReport
  try {
    const by = `linkmesh reload, ${userInfo().username}`
    report = await session.ask<ReloadReport>('reload', { dryRun: options.dryRun === true }, by)
  } finally {
    session.close()
  }
  process.stdout.write(`${options.json ? JSON.stringify(report) : reloadText(report)}\n`)
  if (report.verdict === 'refused' || report.verdict === 'rolled-back') process.exitCode = EXIT.failed
}

/** A report for people. */
export function reloadText({ verdict, changes, problems, shadow, watched, reason }: ReloadReport): string {
  const lines = [
    ...problems.map(({ path, message }) => `${path || '(file)'}: ${message}`),
    ...changes.map((change) => describeChange(change)),
    ...(shadow ? shadowLines(shadow) : []),
    ...(watched
      ? [`before: ${windowText(watched.before)}`, `after:  ${windowText(watched.after)}, in ${watched.watchedMs} ms`]
      : []),
  ]
  const words = {
    unchanged: 'nothing has changed',
    refused: 'refused: nothing was changed',
    checked: `would be applied: ${changes.length} changes`,
    applied: watched?.tooFew ? 'applied, and stays: too few requests came to judge it' : 'applied, and stays',
    'rolled-back': `rolled back: ${reason}`,
  }
  return [...lines, words[verdict]].join('\n')
}

function shadowLines({ recorded, services }: ShadowReport): string[] {
  return [
    `of the last ${recorded} picks:`,
    ...services.flatMap(({ service, picks, moved, keys, keysMoved, refused, latencyUs, instances }) => [
      `  ${service}: ${percent(moved)} of ${picks} picks move${keys > 0 ? `, ${keysMoved} of ${keys} keys` : ''}; ` +
        `refused ${refused.before} → ${refused.after}; latency ${time(latencyUs.before)} → ${time(latencyUs.after)}`,
      ...instances.map(
        ({ instance, before, after }) => `    ${instance.padEnd(24)} ${percent(before)} → ${percent(after)}`,
      ),
    ]),
  ]
}

function windowText({ requests, failed, p50Us, p99Us }: AnswerWindow): string {
  return `${requests} requests, ${failed} failed, p50 ${time(p50Us)}, p99 ${time(p99Us)}`
}

const percent = (share: number | null): string => (share === null ? 'none' : `${(share * 100).toFixed(1)} %`)
