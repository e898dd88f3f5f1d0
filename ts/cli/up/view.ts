/** The terminal picture of a moment: services, instances, what just happened. A function from figures to text. */
import { BOLD, DIM, GREEN, paint, RED, time, whole, YELLOW } from './format.js'
import type { Happening } from './happenings.js'
import type { InstanceFigures, ServiceFigures, Snapshot } from './snapshot.js'

export interface ViewState {
  title: string
  backend: string
  snapshot: Snapshot
  happenings: readonly Happening[]
  /** Id of the chosen instance. */
  chosen: string | undefined
  planned: number | null
  rows: number
  color: boolean
}

const HAPPENINGS_SHOWN = 6

/** The whole picture, at most `rows` lines of it. */
export function render(state: ViewState): string {
  const { snapshot } = state
  const color = paint(state.color)
  const top = [
    `${color(BOLD, state.title)}  ${color(DIM, `${state.backend} · ${Math.round(snapshot.atMs / 1_000)} s`)}`,
    headline(snapshot),
    ...(snapshot.load ? [account(snapshot, state.planned, color)] : []),
    '',
    color(DIM, row(['', 'service / instance', 'where', 'state', 'breaker', 'load', 'req/s', 'latency', 'retries'])),
  ]
  const table = snapshot.services.flatMap((service) => serviceLines(service, state, color))
  const bottom = [
    '',
    ...state.happenings
      .slice(-HAPPENINGS_SHOWN)
      .map(({ at, text }) => `  ${color(DIM, `${at.toFixed(1).padStart(6)} s`)}  ${text}`),
    '',
    color(DIM, '↑ ↓ or 0-9 choose · s slow · f fail · e eject · b block its loop · k kill · r revive'),
    color(DIM, 'd redrive dead letters · l reload the config · q quit'),
  ]
  return [...top, ...fitting(table, state.rows - top.length - bottom.length, color), ...bottom]
    .slice(0, state.rows)
    .join('\n')
}

/** As much of the table as a low terminal has room for: what just happened, the keys and the chosen one stay in sight. */
function fitting(table: string[], room: number, color: ReturnType<typeof paint>): string[] {
  if (table.length <= room) return table
  const count = Math.max(0, room - 1)
  const chosen = table.findIndex((line) => line.includes('›'))
  const from = Math.max(0, chosen - count + 1)
  const shown = table.slice(from, from + count)
  return [...shown, color(DIM, `     … ${table.length - shown.length} more lines: a higher window shows them`)]
}

function headline({ requestsPerSecond, latency, inFlight, retried, deadLetters }: Snapshot): string {
  const quantiles = `p50 ${time(latency.p50Us)}   p99 ${time(latency.p99Us)}   p99.9 ${time(latency.p999Us)}`
  return `${whole(requestsPerSecond)} requests/s   ${quantiles}   in flight ${inFlight}   retried ${whole(retried)}   dead letters ${whole(deadLetters)}`
}

function account({ load }: Snapshot, planned: number | null, color: ReturnType<typeof paint>): string {
  if (!load) return ''
  const of = planned === null ? '' : ` of ${whole(planned)}`
  const bad = load.lost + load.wrong
  const lost = color(bad > 0 ? RED : GREEN, `${load.lost} lost · ${load.wrong} wrong`)
  return `sent ${whole(load.routed)}${of} · right ${whole(load.answered)} · failed ${load.failed} · ${lost}`
}

function serviceLines(service: ServiceFigures, state: ViewState, color: ReturnType<typeof paint>): string[] {
  const load = service.instances.reduce((sum, instance) => sum + instance.inFlight, 0)
  const p99 = `${time(service.p50Us)} / ${time(service.p99Us)}`
  const head = [
    '',
    service.name,
    service.classes.join(' '),
    '',
    '',
    `${load}${service.queued > 0 ? `+${service.queued}` : ''}`,
    whole(service.perSecond),
    p99,
    whole(service.retries),
  ]
  return [
    color(BOLD, row(head)),
    ...protection(service).map((text) => color(YELLOW, `     ${text}`)),
    ...service.instances.map((instance) => instanceLine(instance, state, color)),
  ]
}

/** What was done so that the rest goes well: nothing to see as long as that is nothing. */
function protection({ shed, hedges }: ServiceFigures): string[] {
  const parts = Object.entries(shed).map(([name, count]) => `${name} ${whole(count)}`)
  const words = [
    ...(parts.length > 0 ? [`shed: ${parts.join(' · ')}`] : []),
    ...(hedges > 0 ? [`hedged ${whole(hedges)}`] : []),
  ]
  return words.length > 0 ? [words.join('   ')] : []
}

function instanceLine(instance: InstanceFigures, state: ViewState, color: ReturnType<typeof paint>): string {
  const chosen = instance.id === state.chosen
  const thread = instance.thread === null ? 'address' : instance.thread < 0 ? 'main' : `thread ${instance.thread}`
  const where = instance.node === null ? thread : `node ${instance.node}`
  const text = row([
    chosen ? '›' : '',
    `  ${instance.id}`,
    where,
    instance.state,
    instance.breaker,
    String(instance.inFlight),
    whole(instance.perSecond),
    time(instance.latencyUs),
    '',
  ])
  if (instance.state === 'killed' || instance.state === 'dead') return color(RED, text)
  if (instance.state !== 'up' && instance.state !== 'healthy') return color(YELLOW, text)
  if (instance.breaker === 'open' || instance.breaker === 'half-open') return color(YELLOW, text)
  return text
}

const WIDTHS = [2, 20, 12, 9, 10, 6, 8, 20, 8]

/** One line of the table; the last five columns are numbers and stand to the right. */
function row(cells: readonly string[]): string {
  return cells
    .map((cell, column) => {
      const width = WIDTHS[column] as number
      const cut = cell.length > width ? `${cell.slice(0, width - 1)}…` : cell
      return column >= 5 ? cut.padStart(width) : cut.padEnd(width)
    })
    .join(' ')
    .trimEnd()
}

/** The same in one line, for a log. */
export function renderLine({
  atMs,
  requestsPerSecond,
  latency,
  retried,
  deadLetters,
  load,
  inFlight,
  services,
}: Snapshot): string {
  const down = services
    .flatMap((service) => service.instances)
    .filter((one) => one.state === 'killed' || one.state === 'dead')
  return [
    `${(atMs / 1_000).toFixed(0).padStart(4)} s`,
    `${whole(requestsPerSecond).padStart(7)} req/s`,
    `p50 ${time(latency.p50Us)}`,
    `p99 ${time(latency.p99Us)}`,
    `p99.9 ${time(latency.p999Us)}`,
    `in flight ${inFlight}`,
    `retried ${retried}`,
    ...(deadLetters > 0 ? [`dead letters ${deadLetters}`] : []),
    ...(load
      ? [`sent ${whole(load.routed)}`, `failed ${load.failed}`, `lost ${load.lost}`, `wrong ${load.wrong}`]
      : []),
    ...(down.length > 0 ? [`down: ${down.map((one) => one.id).join(', ')}`] : []),
  ].join('  ')
}
