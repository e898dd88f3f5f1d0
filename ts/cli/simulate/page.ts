/** Reports as one page that needs nothing else: tables, latency curves and the load of each server, in SVG. */
import { behind, type Figures, imbalance, type Report } from './report.js'

const COLOURS = [
  '#0b6e4f',
  '#c1440e',
  '#1f5aa6',
  '#8a5a00',
  '#7a3e9d',
  '#a2195b',
  '#3b7d8c',
  '#5f6b1e',
  '#444',
  '#b07d62',
  '#1b998b',
  '#d1495b',
]
const WIDTH = 720
const HEIGHT = 260
const MARGIN = { left: 64, right: 12, top: 10, bottom: 34 }

const escaped = (text: string) =>
  text.replace(/[&<>"]/g, (sign) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[sign] as string)
const colour = (index: number) => COLOURS[index % COLOURS.length] as string
const ms = (us: number) => (us >= 100_000 ? (us / 1_000).toFixed(0) : (us / 1_000).toFixed(1))

/** The whole page. Same reports, same bytes. */
export function page(reports: readonly Report[]): string {
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>linkmesh simulate</title>
<style>
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;color:#1b1b1b;background:#fff}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:13px}
th,td{padding:.25rem .5rem;text-align:right;border-bottom:1px solid #ddd}th:first-child,td:first-child{text-align:left}
.best{font-weight:600}svg{width:100%;height:auto;font:11px system-ui,sans-serif}
.key{display:inline-block;width:.8em;height:.8em;margin-right:.4em}
</style></head><body><h1>linkmesh simulate</h1>
<p>The production router at virtual time, beside others. A request that failed counts as one that took until the deadline.</p>
${reports.map(section).join('\n')}
</body></html>
`
}

function section(report: Report): string {
  return `<section><h2>${escaped(report.scenario)}</h2>
<p>${escaped(report.about)} Seed ${report.seed}, deadline ${report.deadlineMs} ms, judged by ${report.goal}.</p>
<table><thead><tr><th>policy</th><th>success %</th><th>p50 ms</th><th>p99 ms</th><th>p99.9 ms</th><th>attempts</th><th>busiest</th><th>moves</th><th>${report.goal}</th></tr></thead>
<tbody>${report.policies.map((figures, index) => row(report, figures, index)).join('\n')}</tbody></table>
<h3>Latency by share of requests</h3>${curves(report)}
${report.policies.some((figures) => figures.phases.length > 1) ? `<h3>p99 by step</h3>${steps(report)}` : ''}
<h3>Attempts by server</h3>${loads(report)}</section>`
}

function row(report: Report, figures: Figures, index: number): string {
  const { whole } = figures
  const lag = behind(report, figures)
  const cells = [
    (whole.success * 100).toFixed(3),
    ms(whole.p50Us),
    ms(whole.p99Us),
    ms(whole.p999Us),
    String(figures.attempts),
    `${imbalance(figures).toFixed(2)}×`,
    String(figures.moves),
    lag === 0 ? 'best' : `+${(lag * 100).toFixed(2)} %`,
  ]
  const name = `<span class="key" style="background:${colour(index)}"></span>${escaped(figures.policy)}`
  return `<tr${lag === 0 ? ' class="best"' : ''}><td>${name}</td>${cells.map((cell) => `<td>${cell}</td>`).join('')}</tr>`
}

/** Microseconds on a logarithmic axis that holds all of the values. */
function axis(values: readonly number[]): { y: (us: number) => number; marks: string } {
  const low = Math.floor(Math.log10(Math.max(Math.min(...values), 1)))
  const high = Math.max(Math.ceil(Math.log10(Math.max(...values, 10))), low + 1)
  const span = HEIGHT - MARGIN.top - MARGIN.bottom
  const y = (us: number) => HEIGHT - MARGIN.bottom - ((Math.log10(Math.max(us, 1)) - low) / (high - low)) * span
  const marks = Array.from({ length: high - low + 1 }, (_, step) => {
    const us = 10 ** (low + step)
    const at = y(us).toFixed(1)
    return `<line x1="${MARGIN.left}" x2="${WIDTH - MARGIN.right}" y1="${at}" y2="${at}" stroke="#e4e4e4"/><text x="${MARGIN.left - 6}" y="${at}" text-anchor="end" dominant-baseline="middle">${us / 1_000} ms</text>`
  })
  return { y, marks: marks.join('') }
}

function lines(
  report: Report,
  series: (figures: Figures) => readonly number[],
  ticks: readonly string[],
  label: string,
): string {
  const all = report.policies.flatMap((figures) => [...series(figures)])
  const { y, marks } = axis(all)
  const span = WIDTH - MARGIN.left - MARGIN.right
  const x = (index: number, count: number) => MARGIN.left + (index / Math.max(count - 1, 1)) * span
  const paths = report.policies.map((figures, index) => {
    const values = series(figures)
    const points = values.map((us, at) => `${x(at, values.length).toFixed(1)},${y(us).toFixed(1)}`).join(' ')
    return `<polyline fill="none" stroke="${colour(index)}" stroke-width="1.6" points="${points}"><title>${escaped(figures.policy)}</title></polyline>`
  })
  const words = ticks.map(
    (tick, at) =>
      `<text x="${x(at, ticks.length).toFixed(1)}" y="${HEIGHT - MARGIN.bottom + 14}" text-anchor="${at === 0 ? 'start' : at === ticks.length - 1 ? 'end' : 'middle'}">${tick}</text>`,
  )
  return `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${label}">${marks}${paths.join('')}${words.join('')}</svg>`
}

function curves(report: Report): string {
  return lines(
    report,
    (figures) => figures.distribution,
    ['1 %', '25 %', '50 %', '75 %', '100 %'],
    'latency by share of requests',
  )
}

function steps(report: Report): string {
  const count = Math.max(...report.policies.map((figures) => figures.phases.length))
  const ticks = Array.from({ length: count }, (_, step) => String(step + 1))
  return lines(report, (figures) => figures.phases.map((phase) => phase.p99Us), ticks, 'p99 by step')
}

/** One row of bars a policy; the failed part of each bar is dark. At most 60 servers are drawn. */
function loads(report: Report): string {
  const height = 28
  const drawn = Math.min(Math.max(...report.policies.map((figures) => figures.picks.length)), 60)
  const width = (WIDTH - 220) / Math.max(drawn, 1)
  const rows = report.policies.map((figures, index) => {
    const most = Math.max(...figures.picks, 1)
    const bars = figures.picks.slice(0, drawn).map((picks, server) => {
      const tall = (picks / most) * (height - 6)
      const failed = ((figures.failures[server] ?? 0) / most) * (height - 6)
      const at = (210 + server * width).toFixed(1)
      const bottom = (index + 1) * height
      const bar = (size: number, fill: string) =>
        `<rect x="${at}" y="${(bottom - size).toFixed(1)}" width="${(width * 0.8).toFixed(1)}" height="${size.toFixed(1)}" fill="${fill}"/>`
      return `<g>${bar(tall, colour(index))}${bar(Math.min(failed, tall), '#1b1b1b')}<title>server ${server}: ${picks} attempts, ${figures.failures[server] ?? 0} failed</title></g>`
    })
    return `<text x="0" y="${(index + 1) * height - 4}">${escaped(figures.policy)}</text>${bars.join('')}`
  })
  return `<svg viewBox="0 0 ${WIDTH} ${report.policies.length * height + 6}" role="img" aria-label="attempts by server">${rows.join('')}</svg>`
}
