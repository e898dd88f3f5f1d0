/** The load generator: it must notice what is lost and what is wrong, and count from the intended time. */
import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { parseLogLine, readAccessLog } from '../../ts/cli/load/access-log.js'
import { LoadGenerator } from '../../ts/cli/load/generator.js'
import { LatencyHistogram } from '../../ts/metrics/latency-histogram.js'
import { seededRandom } from '../../ts/cli/load/random.js'
import { logSchedule, mixSchedule, type Planned } from '../../ts/cli/load/schedule.js'
import type { LoadProfile } from '../../ts/config.js'
import { DATA_ABSENT, dataFile } from './data.js'

const servers: Server[] = []
afterEach(() => {
  for (const server of servers.splice(0)) server.close().closeAllConnections()
})
async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener)
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** Asks for /0, /1, …; each must answer with its own path. */
const echo: LoadProfile = {
  next: (random) => ({ method: 'GET', target: `/${Math.floor(random() * 1_000)}` }),
  expected: ({ target }) => target,
  digest: (_, { body }) => Buffer.from(body).toString(),
}
const problem =
  (status: number, code: string): RequestListener =>
  (_, response) => {
    response.writeHead(status, { 'content-type': 'application/problem+json' }).end(JSON.stringify({ code }))
  }
const run = (url: string, requests: number, profile = echo) =>
  new LoadGenerator(url, profile, mixSchedule(profile, seededRandom(1), 'max', requests), 16).run()

describe('the account', () => {
  it('of a server that answers rightly', async () => {
    const url = await serve((request, response) => response.end(request.url))
    expect(await run(url, 200)).toMatchObject({
      routed: 200,
      answered: 200,
      failed: 0,
      lost: 0,
      wrong: 0,
      latency: { count: 200 },
    })
  })

  it('of one that answers something else, now and then', async () => {
    let count = 0
    const url = await serve((request, response) => response.end(count++ % 10 === 0 ? 'x' : request.url))
    const report = await run(url, 200)
    expect(report).toMatchObject({ answered: 180, wrong: 20, lost: 0 })
    expect(report.samples[0]).toContain('wrong digest')
  })

  it('of one that hangs up', async () => {
    let count = 0
    const url = await serve((request, response) =>
      count++ % 10 === 0 ? request.socket.destroy() : response.end(request.url),
    )
    const report = await run(url, 200)
    expect(report.lost).toBeGreaterThan(0)
    expect(report.answered + report.lost).toBe(200)
  })

  it('of one that breaks off in the middle of a reply', async () => {
    const url = await serve((request, response) => {
      response.writeHead(200, { 'content-length': 100 })
      response.write('half', () => request.socket.destroy())
    })
    expect(await run(url, 10)).toMatchObject({ answered: 0, lost: 10 })
  })

  it('of errors: a repeatable request that was not repeated is lost, an overload and a payment are failed', async () => {
    const once = { ...echo, next: () => ({ method: 'POST', target: '/', retriable: false }) }
    expect(await run(await serve(problem(502, 'LM_THREAD_ENDED')), 5)).toMatchObject({
      lost: 5,
      errors: { '502 LM_THREAD_ENDED': 5 },
    })
    expect(await run(await serve(problem(502, 'LM_THREAD_ENDED')), 5, once)).toMatchObject({ lost: 0, failed: 5 })
    expect(await run(await serve(problem(503, 'LM_SATURATED')), 5)).toMatchObject({ lost: 0, failed: 5 })
    expect(await run(await serve(problem(429, 'LM_RATE_LIMITED')), 5)).toMatchObject({ lost: 0, failed: 5 })
    expect(await run(await serve(problem(404, 'LM_NOT_FOUND')), 5)).toMatchObject({ wrong: 5 })
  })

  it('counts a stall of the server for every request that was due meanwhile', async () => {
    // The first reply comes when the last request has arrived: as if the server had slept.
    const waiting: (() => void)[] = []
    const url = await serve((request, response) => {
      waiting.push(() => response.end(request.url))
      if (waiting.length === 50) for (const answer of waiting) answer()
    })
    let at = 0
    const schedule = () => (at < 50 ? { request: { method: 'GET', target: `/${at}` }, atMs: at++ * 4 } : null)
    const { latency, answered } = await new LoadGenerator(url, echo, schedule, 16).run()
    expect(answered).toBe(50)
    expect(latency.maxUs).toBeGreaterThanOrEqual(49 * 4_000)
    // Half of them waited at least half of the time: an average over the answered ones alone would hide it.
    expect(latency.p50Us).toBeGreaterThanOrEqual(24 * 4_000)
  })

  it('stops when told although its next request is due only later', async () => {
    const answers: (() => void)[] = []
    const url = await serve((request, response) => {
      answers.push(() => response.end(request.url))
      if (answers.length < 2) return
      generator.stop()
      for (const answer of answers) answer()
    })
    let at = 0
    const schedule = () => ({ request: { method: 'GET', target: '/x' }, atMs: at++ < 2 ? 0 : 3_600_000 })
    const generator = new LoadGenerator(url, echo, schedule, 16)
    expect(await generator.run()).toMatchObject({ routed: 2, answered: 2 })
  })

  it('stops when told, and still waits for replies under way', async () => {
    const held: (() => void)[] = []
    const url = await serve((request, response) => {
      held.push(() => response.end(request.url))
      if (held.length === 16) {
        generator.stop()
        for (const answer of held) answer()
      }
    })
    const generator = new LoadGenerator(url, echo, mixSchedule(echo, seededRandom(1), 'max', null), 16)
    expect(await generator.run()).toMatchObject({ routed: 16, answered: 16, lost: 0, inFlight: 0 })
  })
})

describe('schedules', () => {
  const all = (next: () => Planned | 'skip' | null) => {
    const list: (Planned | 'skip')[] = []
    for (let planned = next(); planned !== null; planned = next()) list.push(planned)
    return list
  }

  it('a seed repeats a mix; its gaps have the mean of the rate', () => {
    const mix = (seed: number) => all(mixSchedule(echo, seededRandom(seed), 100, 5_000)) as Planned[]
    expect(mix(1)).toEqual(mix(1))
    expect(mix(1)).not.toEqual(mix(2))
    expect((mix(3).at(-1)?.atMs as number) / 5_000).toBeCloseTo(10, 0)
  })

  it('a log keeps its pace times the speed, and spreads each of its seconds', () => {
    const entry = (timeSeconds: number, target: string) => ({
      method: 'GET',
      target,
      timeSeconds,
      status: 200,
      userAgent: '',
    })
    const profile = {
      ...echo,
      fromLog: ({ target }: { target: string }) => (target === '/skip' ? null : { method: 'GET', target }),
    }
    const entries = [entry(10, '/a'), entry(10, '/b'), entry(12, '/skip'), entry(12, '/c')]
    expect(all(logSchedule(profile, entries, 2)).map((p) => (p === 'skip' ? p : p.atMs))).toEqual([
      0,
      250,
      'skip',
      1_250,
    ])
  })
})

describe('access logs', () => {
  it('reads the combined and the common format', () => {
    const common = '1.2.3.4 - bob [17/May/2015:10:05:03 +0200] "GET /a?b=1 HTTP/1.1" 200 12'
    expect(parseLogLine(common)).toEqual({
      method: 'GET',
      target: '/a?b=1',
      status: 200,
      userAgent: '',
      timeSeconds: Date.UTC(2015, 4, 17, 8, 5, 3) / 1_000,
    })
    expect(parseLogLine(`${common} "http://ref/" "Mozilla (X)"`)?.userAgent).toBe('Mozilla (X)')
    expect(parseLogLine(common.replace('12', '-'))?.status).toBe(200)
  })

  it.each(['', 'x', '1.2.3.4 - - [99/Foo/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 1', `${'x'.repeat(70_000)}`])(
    'refuses %#',
    (line) => {
      expect(parseLogLine(line)).toBeNull()
    },
  )

  it('reads a real log whole', async ({ skip }) => {
    const file = dataFile('http/apache-access.log.gz')
    if (file === undefined) return skip(DATA_ABSENT)
    const { entries, unreadable } = await readAccessLog(file)
    expect([entries.length, unreadable]).toEqual([10_000, 0])
    expect(
      entries.every((entry, at) => at === 0 || entry.timeSeconds >= (entries[at - 1]?.timeSeconds as number)),
    ).toBe(true)
  })

  it('names the file that cannot be read', async () => {
    await expect(readAccessLog('/missing/x.log')).rejects.toThrow(
      /\/missing\/x\.log could not be read as an access log: ENOENT/,
    )
    await expect(readAccessLog(`${import.meta.filename}.gz`)).rejects.toThrow(/ENOENT/)
  })
})

describe('quantiles', () => {
  it('are within 0.8 % of an exact sort', () => {
    const random = seededRandom(5)
    const histogram = new LatencyHistogram()
    const exact = Array.from({ length: 50_000 }, () => Math.round(Math.exp(random() * 14)))
    for (const value of exact) histogram.record(value)
    exact.sort((a, b) => a - b)
    for (const quantile of [0.1, 0.5, 0.9, 0.99, 0.999, 1]) {
      const right = exact[Math.ceil(quantile * exact.length) - 1] as number
      expect(Math.abs(histogram.quantileUs(quantile) - right) / right).toBeLessThanOrEqual(0.008)
    }
    expect(histogram.maxUs).toBe(exact.at(-1))
  })

  it('take any number', () => {
    const histogram = new LatencyHistogram()
    for (const value of [Number.NaN, -1, 0, Number.POSITIVE_INFINITY, 2 ** 40]) histogram.record(value)
    expect([histogram.count, histogram.quantileUs(0.5), histogram.maxUs]).toEqual([5, 0, 2 ** 31 - 1])
  })
})
