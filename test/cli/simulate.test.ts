/** `linkmesh simulate`: figures beside rivals, one's own scenario and trace, a page, and what it refuses. */
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { describe, expect, it } from 'vitest'
import { NO_NATIVE } from '../support/native.js'
import { start } from './command.js'

const folder = mkdtempSync(join(tmpdir(), 'linkmesh-simulate-'))
const data = process.env.LINKMESH_DATA ?? resolve(import.meta.dirname, '../../../shared/data')
const MOONCAKE = join(data, 'traces/mooncake-conversation.jsonl.gz')

const simulate = (...args: string[]) => start(['simulate', ...args]).ended

/** A fleet of which the first server fails at once. */
const SCENARIO = {
  name: 'mine',
  durationMs: 3_000,
  deadlineMs: 500,
  arrivals: { rates: [500] },
  servers: [{ count: 4, parallel: 4, workMs: 10, sigma: 0.3 }],
  faults: [{ kind: 'fail', value: 1, server: 0, atMs: 500, untilMs: 3_000 }],
}

function file(name: string, text: string): string {
  const path = join(folder, name)
  writeFileSync(path, text)
  return path
}

describe.skipIf(NO_NATIVE !== '')('linkmesh simulate', () => {
  it('prints a table of an included scenario, the same bytes for the same seed', async () => {
    const run = () => simulate('sinkhole', '--policy', 'adaptive,rival:least-request', '--seed', '3')
    const [first, again] = [await run(), await run()]
    expect(first.code).toBe(0)
    expect(first.stdout).toMatch(/^sinkhole \(seed 3\)/)
    expect(first.stdout).toMatch(/^adaptive .* best$/m)
    expect(again.stdout).toBe(first.stdout)
  })

  it('runs a scenario of the user and writes a page', async () => {
    const page = join(folder, 'report.html')
    const scenario = file('mine.json', JSON.stringify(SCENARIO))
    const { code, json } = await simulate(
      scenario,
      '--policy',
      'least-request,rival:random',
      '--json',
      '--report',
      page,
    )
    expect(code).toBe(0)
    const [ours, rival] = (json[0] as { policies: { whole: { success: number } }[] }).policies
    expect(ours?.whole.success).toBeGreaterThan(0.98)
    expect(rival?.whole.success).toBeLessThan(0.85)
    const html = readFileSync(page, 'utf8')
    expect(html).toContain('<polyline')
    expect(html).not.toMatch(/NaN|undefined|Infinity/)
  })

  it('--all runs what is included and a trace, and meets every goal', { timeout: 120_000 }, async () => {
    const { code, json } = await simulate('--all', '--json')
    expect(code).toBe(0)
    const scenarios = json.flatMap(({ scenario }) => scenario ?? [])
    expect(scenarios).toHaveLength(existsSync(MOONCAKE) ? 12 : 11)
    const { goals } = json.at(-1) as { goals: { scenario: string; met: boolean; found: string }[] }
    expect(goals.map(({ scenario }) => scenario)).toEqual(['slow-replica', 'sinkhole', 'rejections', 'ramp', 'all'])
    expect(goals.filter(({ met }) => !met)).toEqual([])
  })

  it.skipIf(!existsSync(MOONCAKE))('replays 12,031 production arrivals with their keys', async () => {
    const fleet = { count: 8, parallel: 8, workMs: 6_000, sigma: 0.5, cache: 200, hitFactor: 0.4 }
    const scenario = file(
      'llm.json',
      JSON.stringify({ ...SCENARIO, deadlineMs: 120_000, servers: [fleet], faults: [] }),
    )
    const { code, json } = await simulate(
      scenario,
      '--trace',
      MOONCAKE,
      '--policy',
      'rendezvous,least-request',
      '--json',
    )
    expect(code).toBe(0)
    const [byKey, spread] = (json[0] as { policies: { whole: { requests: number }; moves: number }[] }).policies
    expect(byKey?.whole.requests).toBe(12_031)
    expect(byKey?.moves).toBeLessThan((spread?.moves ?? 0) / 2)
  })

  it('takes an access log as arrivals', async () => {
    const line = (second: number, path: string) =>
      `10.0.0.1 - - [17/May/2015:10:05:${String(second).padStart(2, '0')} +0000] "GET ${path} HTTP/1.1" 200 12`
    const log = file('access.log', [line(3, '/a'), line(3, '/b?x=1'), line(4, '/b'), line(9, '/a')].join('\n'))
    const { json } = await simulate('hot-key', '--trace', log, '--policy', 'maglev', '--json')
    expect(json[0]).toMatchObject({ policies: [{ whole: { requests: 4 }, moves: 0 }] })
  })

  it('says what is wrong, and exits with 2', async () => {
    const cases: [string[], RegExp][] = [
      [[], /name one scenario, or give --all/],
      [['nowhere'], /there is no scenario nowhere/],
      [['sinkhole', '--policy', 'magic'], /has no magic; there are round-robin/],
      [[file('bad.json', '{"name":1')], /is not JSON/],
      [[file('wrong.json', JSON.stringify({ ...SCENARIO, deadlineMs: -1 }))], /scenario\.deadlineMs must be between/],
      [['sinkhole', '--trace', file('t.jsonl', '{"key":1}')], /t\.jsonl:1 has no timeMs/],
    ]
    for (const [args, message] of cases) {
      const { code, stderr } = await simulate(...args)
      expect(stderr).toMatch(message)
      expect(code).toBe(2)
    }
  })
})
