/** What a scrape of many series costs the event loop of the process that is scraped. */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { quantile } from '../harness/measure.mjs'
import { built, rival } from '../harness/native.mjs'
import { shuffled } from '../harness/random.mjs'
import { report } from '../harness/report.mjs'

const SERIES = 10_000
const BUDGET_MS = 1
/** Values of each histogram: one in ten series is one. */
const VALUES = [1, 2, 5, 10, 50, 250, 1_000]
const FORMATS = ['prometheus', 'openmetrics', 'json', 'csv', 'erlang']

export async function run({ quick, random }) {
  const { Mesh } = await built('index.js')
  const mesh = await Mesh.open({ name: 'bench-exports', seed: 1 })
  fill(
    (n, name) => mesh.metrics.counter(`${name}_total`, { shop: `shop ${n}` }).add(n),
    (n) => {
      const histogram = mesh.metrics.histogram('size_bytes', { shop: `shop ${n}` })
      for (const value of VALUES) histogram.record(value)
    },
  )
  const { Registry, Counter, Histogram } = rival('prom-client')
  const registers = [new Registry()]
  const counters = new Map()
  const sizes = new Histogram({ name: 'size_bytes', help: 'Sizes', labelNames: ['shop'], registers })
  fill(
    (n, name) => {
      if (!counters.has(name))
        counters.set(name, new Counter({ name: `${name}_total`, help: name, labelNames: ['shop'], registers }))
      counters.get(name).inc({ shop: `shop ${n}` }, n)
    },
    (n) => {
      for (const value of VALUES) sizes.observe({ shop: `shop ${n}` }, value)
    },
  )

  const contenders = [
    ...FORMATS.map((format) => ({ name: `linkmesh, ${format}`, scrape: () => mesh.metrics.scrape(format) })),
    { name: 'prom-client, prometheus', scrape: () => registers[0].metrics() },
    { name: 'nothing, for as long', scrape: undefined },
  ]
  const measured = new Map(contenders.map(({ name }) => [name, []]))
  let lastMs = 20
  for (let round = 0; round <= (quick ? 5 : 40); round++) {
    for (const { name, scrape } of shuffled(contenders, random)) {
      const one = await held(scrape ?? (() => new Promise((resolve) => setTimeout(resolve, lastMs))))
      if (name === 'linkmesh, prometheus') lastMs = one.tookMs
      // The first round is for the compilers.
      if (round > 0) measured.get(name).push(one)
    }
  }
  const lines = (field, more) =>
    contenders.map(({ name }) => {
      const of = (one) => measured.get(name).map((sample) => sample[one])
      return {
        name,
        value: quantile(of(field), 0.5),
        more: Object.fromEntries(more.map((one) => [one, quantile(of(one), 0.5)])),
      }
    })
  report({
    title: `a scrape of ${SERIES.toLocaleString('en')} series: how long the event loop is held`,
    unit: 'ms',
    better: 'lower',
    subject: 'linkmesh, openmetrics',
    lines: lines('activeMs', ['tookMs', 'delayMs']),
    gates: [{ rival: 'prom-client, prometheus', atLeast: 20 }],
    budget: BUDGET_MS,
    note: 'medians of rounds: the time the loop was not idle in all, so no turn was longer; delayMs is the worst that its own delay histogram saw, other programs included',
  })
  await mesh.close({ graceMs: 0 })
}

function fill(count, distribute) {
  for (let n = 0; n < SERIES; n++) {
    if (n % 10 === 0) distribute(n)
    else count(n, `jobs_${n % 10}`)
  }
}

/** Twice: the delay histogram has a timer of its own, whose turns would count as the scrape's. */
async function held(scrape) {
  await new Promise((resolve) => setTimeout(resolve, 2))
  const before = performance.eventLoopUtilization()
  const began = performance.now()
  const text = await scrape()
  const tookMs = performance.now() - began
  const { active } = performance.eventLoopUtilization(before)
  if (text !== undefined && text.length < SERIES * 20) throw new Error('a scrape that is too short to be right')
  const delay = monitorEventLoopDelay({ resolution: 1 })
  delay.enable()
  await scrape()
  await new Promise((resolve) => setTimeout(resolve, 2))
  delay.disable()
  return { activeMs: active, tookMs, delayMs: delay.max / 1e6 }
}
