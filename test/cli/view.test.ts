/** What the terminal shows, and what its keys do. */
import { describe, expect, it } from 'vitest'
import type { Fleet, FleetInstance } from '../../ts/cli/up/fleet.js'
import { time } from '../../ts/cli/up/format.js'
import { Happenings } from '../../ts/cli/up/happenings.js'
import { Keys } from '../../ts/cli/up/keys.js'
import { Figures, type InstanceFigures, type Snapshot } from '../../ts/cli/up/snapshot.js'
import { render, renderLine } from '../../ts/cli/up/view.js'
import { Mesh } from '../../ts/index.js'

const instance = (id: string, more: Partial<InstanceFigures> = {}): InstanceFigures => ({
  id,
  node: null,
  thread: 0,
  state: 'up',
  breaker: 'closed',
  inFlight: 2,
  perSecond: 410,
  latencyUs: 210,
  failed: 0,
  ...more,
})
const snapshot: Snapshot = {
  atMs: 12_300,
  requestsPerSecond: 2_014,
  latency: { count: 2_014, p50Us: 620, p99Us: 2_100, p999Us: 48_000, maxUs: 1_200_000 },
  inFlight: 7,
  retried: 3,
  deadLetters: 2,
  load: {
    routed: 24_000,
    answered: 23_990,
    failed: 3,
    lost: 0,
    wrong: 0,
    skipped: 0,
    latency: { count: 0, p50Us: 0, p99Us: 0, p999Us: 0, maxUs: 0 },
    elapsedMs: 12_000,
    inFlight: 7,
    errors: {},
    samples: [],
  },
  services: [
    {
      name: 'catalog',
      perSecond: 820,
      queued: 4,
      classes: ['critical'],
      shed: { 'best-effort': 1_200, critical: 1 },
      retries: 3,
      hedges: 9,
      p50Us: 180,
      p99Us: 900,
      instances: [instance('catalog-1'), instance('catalog-2', { state: 'killed', breaker: 'open', thread: 1 })],
    },
  ],
}
const state = {
  title: 'shop',
  backend: 'native',
  snapshot,
  happenings: [{ at: 11.5, text: 'you killed catalog-2' }],
  chosen: 'catalog-2',
  planned: 30_000,
  rows: 40,
  color: false,
}

describe('the picture', () => {
  const text = render(state)
  it('has rates, quantiles and the account', () => {
    expect(text).toMatch(
      /2,014 requests\/s {3}p50 620 µs {3}p99 2\.10 ms {3}p99\.9 48\.0 ms {3}in flight 7 {3}retried 3 {3}dead letters 2/,
    )
    expect(text).toMatch(/sent 24,000 of 30,000 · right 23,990 · failed 3 · 0 lost · 0 wrong/)
  })
  it('has a line per service and instance, and marks the chosen one', () => {
    expect(text).toMatch(/^ *catalog +critical .*4\+4 .*820 .*180 µs \/ 900 µs .*3$/m)
    expect(text).toMatch(/^ *catalog-1 +thread 0 +up +closed +2 +410 +210 µs$/m)
    expect(text).toMatch(/^› +catalog-2 +thread 1 +killed +open/m)
  })
  it('has what was shed, by class, and hedged', () => {
    expect(text).toMatch(/^ +shed: best-effort 1,200 · critical 1 {3}hedged 9$/m)
  })
  it('has what just happened, the keys, and never more rows than the terminal', () => {
    expect(text).toContain('11.5 s  you killed catalog-2')
    expect(text).toContain('k kill')
    expect(render({ ...state, rows: 5 }).split('\n')).toHaveLength(5)
  })
  it('keeps what just happened and the keys in sight where the window is too low for the table', () => {
    const low = render({ ...state, rows: 12 }).split('\n')
    expect(low).toHaveLength(12)
    expect(low).toEqual(expect.arrayContaining([expect.stringContaining('you killed catalog-2')]))
    expect(low.join('\n')).toMatch(/… 3 more lines: a higher window shows them/)
    expect(low.join('\n')).toMatch(/^› +catalog-2/m)
    expect(low.at(-1)).toContain('q quit')
  })
  it('colours only when asked', () => {
    expect(text).not.toContain('\u001b')
    expect(render({ ...state, color: true })).toContain('\u001b[31m')
  })
  it('fits in one line for a log', () => {
    expect(renderLine(snapshot)).toMatch(/^ {2}12 s {4}2,014 req\/s .* lost 0 {2}wrong 0 {2}down: catalog-2$/)
  })
  it.each([
    [0, '-'],
    [740, '740 µs'],
    [1_240, '1.24 ms'],
    [21_000, '21.0 ms'],
    [2_100_000, '2.1 s'],
  ])('%d µs is %s', (us, wanted) => {
    expect(time(us)).toBe(wanted)
  })
})

describe('the figures', () => {
  it('show an instance that is kept out as ejected, whoever did it, until that is over', async () => {
    const mesh = await Mesh.open({ name: 'view-ejected' })
    for (const id of ['till-1', 'till-2'])
      mesh.register('till.pay', { address: `http://${id}`, metadata: { instance: id } })
    const one = (id: string, state: FleetInstance['state']): FleetInstance => ({
      id,
      service: 'till',
      thread: -1,
      state,
    })
    const figures = new Figures({ instances: [one('till-1', 'failing'), one('till-2', 'up')] } as unknown as Fleet)
    const states = () => figures.take(mesh.services())[0]?.instances.map(({ state }) => state)
    expect(states()).toEqual(['failing', 'up'])
    const target = { service: 'till.pay', instance: 'till-1' }
    await mesh.admin.eject(target, { forMs: 60_000, by: 'test' })
    expect(states()).toEqual(['ejected', 'up'])
    await mesh.admin.eject(target, { forMs: 0, by: 'test' })
    expect(states()).toEqual(['failing', 'up'])
    await mesh.close()
  })
})

describe('the keys', () => {
  const done: string[] = []
  const instances: FleetInstance[] = ['a-1', 'a-2', 'b-1'].map((id) => ({
    id,
    service: id[0] as string,
    thread: 0,
    state: 'up',
  }))
  const fleet: Fleet = {
    instances,
    fault: (id, fault) => done.push(`fault ${id} ${fault}`),
    kill: async (id) => void done.push(`kill ${id}`),
    revive: (id) => Promise.reject(new Error(`${id} does not come back`)),
    block: (id, ms) => done.push(`block ${id} ${ms}`),
    close: async () => {},
  }
  it('choose, slow, let fail, eject, block, kill, revive, redrive, reload and quit', async () => {
    const happenings = new Happenings()
    const keys = new Keys(fleet, happenings, () => {}, {
      quit: () => done.push('quit'),
      reload: () => done.push('reload'),
      eject: async (...what) => done.push(`eject ${what}`),
      redrive: async () => 'you redrove 2 dead letters: 2 delivered',
    })
    expect(keys.chosen).toBe('a-1')
    for (const key of ['\u001b[B', 's', 'f', 'e', 'b', '3', 'k', '\u001b[B', '\u001b[A', 'x', '0']) keys.press(key)
    expect(keys.chosen).toBe('b-1')
    expect(done).toEqual(['fault a-2 slow', 'fault a-2 failing', 'eject a,a-2,10000', 'block a-2 2000', 'kill b-1'])
    keys.press('l')
    expect(done.at(-1)).toBe('reload')
    keys.press('r')
    keys.press('d')
    await new Promise((resolve) => setImmediate(resolve))
    expect(happenings.newest(9).map(({ text }) => text)).toEqual([
      'you slowed a-2',
      'you broke a-2',
      'you ejected a-2 for 10 s',
      'you blocked the loop of a-2 for 2 s',
      'you killed b-1',
      'you revived b-1',
      'b-1 does not come back',
      'you redrove 2 dead letters: 2 delivered',
    ])
    keys.press('q')
    keys.press('\u0003')
    expect(done.slice(-2)).toEqual(['quit', 'quit'])
  })
})
