/** CSV, Erlang terms and data points of a scrape, read back by what others read them with. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { type Binding, Outcome, Status } from '../../ts/binding/contract.js'
import { consult, type Term } from '../support/erlang-terms.js'
import { onBothBackends, refusal, rendered } from './backends.js'
import { openMesh } from './open-mesh.js'

const TRACE = '0af7651916cd43dd8448eb211c80319c'
const SPAN = 'b7ad6b7169203331'
/** What each format has to quote. */
const AWKWARD = 'a "b", \\c\n=1+1é🦀\u0001'

/** A mesh with a series of each kind; 1,000 requests took 1 to 1,000 µs. */
function measured(binding: Binding): { b: Binding; mesh: number; service: number } {
  const { b, mesh, define, add } = openMesh(binding)
  const service = define('orders')
  add(service, { address: 'http://a' })
  for (let us = 1; us <= 1_000; us++) expect(b.complete(mesh, b.pick(mesh, service, 0), Outcome.Ok, us)).toBe(0)
  const own = b.metricOpen(mesh, 1, 'depth', JSON.stringify({ queue: AWKWARD }), AWKWARD)
  expect(b.metricRecord(mesh, own, -2.5e-7)).toBe(0)
  return { b, mesh, service }
}

const latency = (text: string) => text.split('\r\n').find((row) => row.startsWith('linkmesh_request_duration_seconds,'))

/** RFC 4180. */
function readCsv(text: string): string[][] {
  const rows: string[][] = [[]]
  for (const [, quoted, plain, end] of text.matchAll(/(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n)/g)) {
    rows.at(-1)?.push(quoted === undefined ? (plain as string) : quoted.replaceAll('""', '"'))
    if (end === '\r\n') rows.push([])
  }
  rows.pop()
  return rows
}

const erl = spawnSync('erl', ['-noshell', '-eval', 'halt(0).']).status === 0

onBothBackends('formats of a scrape', (binding) => {
  it('csv reads back, row by row', async () => {
    const { b, mesh } = measured(binding())
    const text = await rendered(b, mesh, 'csv')
    const [header = [], ...rows] = readCsv(text)
    expect(header.join()).toBe('name,kind,labels,value,count,sum,max,p50,p90,p95,p99,p999')
    for (const row of rows) expect(row, text).toHaveLength(header.length)
    const record = (name: string) => {
      const row = rows.find(([first]) => first === name) as string[]
      return Object.fromEntries(header.map((column, at) => [column, row[at] as string]))
    }
    const own = record('depth')
    expect(JSON.parse(own.labels as string)).toEqual({ queue: AWKWARD })
    expect(Number(own.value)).toBe(-2.5e-7)
    const requests = record('linkmesh_request_duration_seconds')
    expect(Number(requests.count)).toBe(1_000)
    for (const [column, exact] of [
      ['p50', 500],
      ['p90', 900],
      ['p95', 950],
      ['p99', 990],
      ['p999', 999],
    ] as const)
      expect(Math.abs(Number(requests[column]) * 1e6 - exact) / exact, column).toBeLessThan(0.011)
    // A spreadsheet takes a field that begins so for a formula.
    for (const field of rows.flat()) expect(field).not.toMatch(/^[=+@\t]/)
    expect(latency(text)).toBeDefined()
  })

  it('erlang terms read back by the grammar of file:consult', async () => {
    const { b, mesh } = measured(binding())
    const text = await rendered(b, mesh, 'erlang')
    const families = new Map(consult(text).map((term) => [textOf(get(term, 'name')), term]))
    const depth = families.get('depth') as Term
    expect(textOf(get(depth, 'help'))).toBe(AWKWARD)
    const [series] = get(depth, 'series') as Term[]
    expect(textOf(get(get(series as Term, 'labels'), 'queue'))).toBe(AWKWARD)
    expect(get(series as Term, 'value')).toBe(-2.5e-7)
    const [duration] = get(families.get('linkmesh_request_duration_seconds') as Term, 'series') as Term[]
    expect(get(duration as Term, 'count')).toBe(1_000)
    expect(Math.abs((get(duration as Term, 'p99') as number) * 1e6 - 990)).toBeLessThan(11)
  })

  it.skipIf(!erl)(erl ? 'erlang terms are read by Erlang' : 'skipped: no erl', async () => {
    const { b, mesh } = measured(binding())
    const folder = mkdtempSync(join(tmpdir(), 'linkmesh-erl-'))
    try {
      const file = join(folder, 'metrics.terms')
      writeFileSync(file, await b.metricsRender(mesh, 'erlang'))
      const program = `
        {ok, Families} = file:consult("${file}"),
        [#{help := Help, series := [#{labels := Labels, value := Value}]}] = [F || #{name := <<"depth">>} = F <- Families],
        #{<<"queue">> := Queue} = Labels,
        [#{series := [#{count := Count}]}] = [F || #{name := <<"linkmesh_request_duration_seconds">>} = F <- Families],
        io:format("~s ~s ~w ~w", [binary:encode_hex(Queue), binary:encode_hex(Help), Value, Count]), halt(0).`
      const { stdout, stderr, status } = spawnSync('erl', ['-noshell', '-eval', program], { encoding: 'utf8' })
      expect(status, stderr + stdout).toBe(0)
      const hex = Buffer.from(AWKWARD).toString('hex').toUpperCase()
      expect(stdout).toBe(`${hex} ${hex} -2.5e-7 1000`)
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it('points keep every bucket and the exemplars', async () => {
    const { b, mesh, service } = measured(binding())
    expect(b.serviceExemplar(mesh, service, 700, TRACE, SPAN, 1_760_000_000_250)).toBe(0)
    const lines = (await rendered(b, mesh, 'points'))
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line))
    const at = lines.findIndex((line) => line.family === 'linkmesh_request_duration_seconds')
    expect(lines[at].kind).toBe('histogram')
    const { labels, histogram } = lines[at + 1]
    expect(labels).toEqual({ service: 'orders' })
    expect(histogram).toMatchObject({
      unit: 'us',
      count: 1_000,
      sum: 500_500,
      max: 1_000,
      zero: 0,
      scale: 5,
      offset: 0,
    })
    const counts = histogram.counts as number[]
    expect(counts.reduce((sum, count) => sum + count, 0)).toBe(1_000)
    // From 2^9 µs on: bucket 9 · 2^5.
    expect(counts.slice(288).reduce((sum, count) => sum + count, 0)).toBe(489)
    expect(histogram.exemplars).toEqual([{ traceId: TRACE, spanId: SPAN, value: 700, atMs: 1_760_000_000_250 }])
  })

  it('an exemplar is written at the bucket of its value, in OpenMetrics only', async () => {
    const { b, mesh, service } = measured(binding())
    const own = b.metricOpen(mesh, 2, 'size_bytes', '', '')
    expect(b.metricRecord(mesh, own, 3_000)).toBe(0)
    expect(b.metricExemplar(mesh, own, 3_000, TRACE, SPAN, 1_760_000_000_000)).toBe(0)
    expect(b.serviceExemplar(mesh, service, 700, TRACE, SPAN, 1_760_000_000_250)).toBe(0)
    const marked = (await rendered(b, mesh, 'openmetrics')).split('\n').filter((line) => line.includes(' # {'))
    const ids = `{trace_id="${TRACE}",span_id="${SPAN}"}`
    expect(marked).toEqual([
      `linkmesh_request_duration_seconds_bucket{service="orders",le="0.001024"} 1000.0 # ${ids} 0.0007 1760000000.25`,
      `size_bytes_bucket{le="4096.0"} 1.0 # ${ids} 3000.0 1760000000.0`,
    ])
    expect(await rendered(b, mesh, 'prometheus')).not.toContain(' # {')
  })

  it.each([
    [TRACE.toUpperCase(), SPAN, 1, 1],
    ['0'.repeat(32), SPAN, 1, 1],
    [TRACE, '0'.repeat(16), 1, 1],
    [`${TRACE}0`, SPAN, 1, 1],
    [TRACE, SPAN, -1, 1],
    [TRACE, SPAN, 1, Number.NaN],
  ])('refuses the exemplar %s %s %d %d', (traceId, spanId, value, atMs) => {
    const { b, mesh, service } = measured(binding())
    expect(b.serviceExemplar(mesh, service, value, traceId, spanId, atMs)).toBe(Status.InvalidArgument)
    expect(refusal(b)?.field).toBe('traceId')
  })

  it('refuses exemplars of what has none', () => {
    const { b, mesh } = measured(binding())
    const gauge = b.metricOpen(mesh, 1, 'level', '', '')
    expect(b.metricExemplar(mesh, gauge, 1, TRACE, SPAN, 1)).toBe(Status.InvalidArgument)
    expect(b.metricExemplar(mesh, gauge + (1 << 17), 1, TRACE, SPAN, 1)).toBe(Status.StaleHandle)
    expect(b.serviceExemplar(mesh, 12_345, 1, TRACE, SPAN, 1)).toBe(Status.StaleHandle)
  })
})

function get(map: Term, key: string): Term {
  return (map as Map<Term, Term>).get(key) as Term
}

function textOf(term: Term): string {
  return new TextDecoder('utf-8', { fatal: true }).decode(term as Uint8Array)
}
