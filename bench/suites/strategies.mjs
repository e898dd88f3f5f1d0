/**
 * Whether the simulator's `rival:moleculer-latency` chooses as Moleculer's own strategy does: the package's class gets the
 * pings that the simulated hosts answer, span by span, and makes as many choices. The two draw different random numbers, so
 * what is compared is how often each host was chosen.
 */
import { EventEmitter } from 'node:events'
import { addon, rival } from '../harness/native.mjs'
import { sections } from '../harness/report.mjs'

/** Both ping once every ten seconds, the first time at once. */
const SPAN_MS = 10_000
const PER_SECOND = 500

/** Round trips of a ping by host, milliseconds; one list for each span. */
const CASES = [
  { name: 'two of ten hosts are near', spans: repeated([40, 9, 30, 25, 60, 3, 80, 12, 35, 50], 6) },
  { name: 'all of ten hosts are far', spans: repeated([40, 19, 30, 25, 60, 13, 80, 12, 35, 50], 6) },
  { name: 'three hosts, fewer than are sampled', spans: repeated([40, 30, 8], 6) },
  { name: 'three far hosts', spans: repeated([40, 30, 18], 6) },
  {
    name: 'the near host of eight becomes far, another one near',
    spans: [...repeated([3, 90, 80, 70, 60, 50, 40, 30], 4), ...repeated([120, 90, 80, 70, 60, 50, 40, 2], 8)],
  },
]

function repeated(pings, times) {
  return Array.from({ length: times }, () => pings)
}

export async function run({ random }) {
  const strategy = packaged(random)
  if (strategy === undefined) return
  const { simulate } = await addon()
  const lines = CASES.map(() => '')
  const verdicts = []
  for (const [index, { name, spans }] of CASES.entries()) {
    const { picks, perSpan } = await ported(simulate, spans, 1 + index)
    const chosen = strategy(spans, perSpan)
    const { distance, excess, allowed } = compared(picks, chosen)
    lines[index] =
      `  ${name}\n    ours    ${shares(picks)}\n    theirs  ${shares(chosen)}\n` +
      `    ${(distance * 100).toFixed(2)} % of the choices differ; chi² per degree of freedom ${excess.toFixed(2)}`
    verdicts.push({
      met: excess <= allowed,
      text: `${name}: chi² per degree of freedom ${excess.toFixed(2)}, chance makes at most ${allowed.toFixed(2)}`,
    })
  }
  const title = "the simulator's port of Moleculer's latency strategy beside the package's own"
  const ends = verdicts.map(({ met, text }) => `  ${met ? 'met' : 'MISSED'}: ${text}`)
  process.stdout.write(`${['', title, ...lines, ...ends].join('\n')}\n`)
  sections.push({ title, unit: 'chi²/dof', better: 'lower', lines: [], verdicts })
}

/** Choices of the package's class; undefined when it is not installed. */
function packaged(random) {
  // lodash keeps the function that it finds when it is loaded.
  const native = Math.random
  Math.random = () => random() / 2 ** 32
  let Strategy
  try {
    Strategy = rival('moleculer').Strategies.Latency
  } catch (error) {
    if (error.code !== 'MODULE_NOT_FOUND') throw error
    process.stdout.write('  skipped: moleculer is not installed (npm ci in bench)\n')
    return undefined
  } finally {
    Math.random = native
  }
  return (spans, perSpan) => {
    const hosts = spans[0].map((_, host) => ({ id: `node-${host}`, hostname: `host-${host}` }))
    const nodes = new Map(hosts.map((node) => [node.id, node]))
    const localBus = new EventEmitter()
    const own = new Strategy({ nodes }, { transit: {}, localBus }, {})
    const endpoints = hosts.map((node) => ({ node }))
    const chosen = hosts.map(() => 0)
    for (const [span, pings] of spans.entries()) {
      for (const [host, { id }] of hosts.entries()) {
        localBus.emit('$node.pong', { nodeID: id, elapsedTime: pings[host] })
      }
      for (let n = 0; n < perSpan[span]; n++) chosen[endpoints.indexOf(own.select(endpoints))]++
    }
    return chosen
  }
}

/** Choices of the simulator's port, and requests of each span. A fault makes a host's ping, a millisecond, so many times as long. */
async function ported(simulate, spans, seed) {
  const count = spans[0].length
  const durationMs = spans.length * SPAN_MS
  const faults = spans.flatMap((pings, span) =>
    pings.map((value, server) => ({
      kind: 'slow',
      value,
      server,
      atMs: span * SPAN_MS,
      untilMs: (span + 1) * SPAN_MS,
    })),
  )
  const scenario = {
    name: 'pings',
    seed,
    durationMs,
    deadlineMs: 10_000,
    arrivals: { rates: [PER_SECOND] },
    servers: [{ count, parallel: 1_000, workMs: 1 }],
    faults,
    phasesMs: spans.map((_, span) => (span + 1) * SPAN_MS),
  }
  const report = JSON.parse(await simulate(JSON.stringify({ scenario, policies: ['rival:moleculer-latency'] })))
  const [{ picks, phases }] = report.policies
  return { picks, perSpan: phases.map(({ requests }) => requests) }
}

/** Two samples of one distribution have a chi² of about 1 per degree of freedom; four deviations are allowed. */
function compared(ours, theirs) {
  const sum = (list) => list.reduce((total, one) => total + one, 0)
  const [a, b] = [sum(ours), sum(theirs)]
  let chi = 0
  let cells = 0
  let differ = 0
  for (const [host, one] of ours.entries()) {
    const other = theirs[host]
    differ += Math.abs(one / a - other / b) / 2
    if (one + other === 0) continue
    cells++
    chi += (one * Math.sqrt(b / a) - other * Math.sqrt(a / b)) ** 2 / (one + other)
  }
  const degrees = Math.max(1, cells - 1)
  return { distance: differ, excess: chi / degrees, allowed: 1 + 4 * Math.sqrt(2 / degrees) }
}

function shares(counts) {
  const total = counts.reduce((sum, one) => sum + one, 0)
  return counts.map((one) => `${((one / total) * 100).toFixed(1)} %`.padStart(7)).join(' ')
}
