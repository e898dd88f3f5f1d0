/** A report for a terminal. */
import { behind, imbalance, type Report } from './report.js'

const ms = (us: number) => (us / 1_000).toFixed(1)

/** One scenario: a line per policy, and a line of p99 by step when the scenario has steps. */
export function table(report: Report): string {
  const head = [
    'policy',
    'success %',
    'p50 ms',
    'p99 ms',
    'p99.9 ms',
    'attempts',
    'refused',
    'busiest',
    'moves',
    report.goal,
  ]
  const rows = report.policies.map((figures) => {
    const { whole } = figures
    const lag = behind(report, figures)
    return [
      figures.policy,
      (whole.success * 100).toFixed(3),
      ms(whole.p50Us),
      ms(whole.p99Us),
      ms(whole.p999Us),
      String(figures.attempts),
      String(figures.refused),
      `${imbalance(figures).toFixed(2)}x`,
      String(figures.moves),
      lag === 0 ? 'best' : `${(lag * 100).toFixed(2)} % behind`,
    ]
  })
  const widths = head.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => (row[column] as string).length)),
  )
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, column) =>
        column === 0 ? cell.padEnd(widths[0] as number) : cell.padStart(widths[column] as number),
      )
      .join('  ')
  const steps = report.policies
    .filter((figures) => figures.phases.length > 1)
    .map((figures) => `p99 by step, ms  ${figures.policy}: ${figures.phases.map((phase) => ms(phase.p99Us)).join(' ')}`)
  return [
    `${report.scenario} (seed ${report.seed}): ${report.about}`,
    line(head),
    ...rows.map(line),
    ...steps,
    '',
  ].join('\n')
}
