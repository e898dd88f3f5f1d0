/** What decides over a reload, without a process: differences, bounds, what was answered, and the shadow. */
import { afterEach, describe, expect, it } from 'vitest'
import { configChanges, describeChange, fixedChanges } from '../../ts/config/changes.js'
import { parseConfig } from '../../ts/config/check.js'
import { Mesh } from '../../ts/index.js'
import { DEFAULT_BOUNDS, type Slice, slowUs, type AnswerWindow, worsening } from '../../ts/reload/bounds.js'
import { likelyAtMost, proves } from '../../ts/reload/evidence.js'
import { Guard } from '../../ts/reload/guard.js'
import { RecentAnswers } from '../../ts/reload/recent.js'
import { type ShadowSide, shadow } from '../../ts/reload/shadow.js'
import { Random } from '../conformance/random.js'

describe('changes', () => {
  const config = (own: object) => parseConfig({ services: { a: { module: './a.mjs' } }, ...own })
  it('are named by their path, lists as a whole', () => {
    const before = config({ policy: { concurrency: 8 }, upstreams: { pay: [{ address: 'http://a:1' }] } })
    const after = config({
      policy: { concurrency: 9, breaker: { openMs: 5 } },
      upstreams: { pay: [{ address: 'http://a:1', weight: 2 }] },
    })
    expect(configChanges(before, before)).toEqual([])
    expect(configChanges(before, after).map((change) => describeChange(change))).toEqual([
      'policy.breaker: nothing → {"openMs":5}',
      'policy.concurrency: 8 → 9',
      'upstreams.pay: [{"address":"http://a:1"}] → [{"address":"http://a:1","weight":2}]',
    ])
    expect(fixedChanges(configChanges(before, after))).toEqual([])
  })

  it.each([
    [{ name: 'other' }, 'name'],
    [{ workers: 3 }, 'workers'],
    [{ services: { a: { module: './b.mjs' } } }, 'services.a.module'],
    [{ gateway: { port: 1, routes: {} } }, 'gateway'],
  ])('%j needs a new start', (own, path) => {
    expect(fixedChanges(configChanges(config({}), config(own)))).toMatchObject([{ path }])
  })
})

describe('bounds', () => {
  const window = (own: Partial<AnswerWindow>): AnswerWindow => ({
    requests: 1_000,
    failed: 0,
    p50Us: 1_000,
    p99Us: 30_000,
    ...own,
  })
  /** So many requests, the bad ones spread evenly or all in one tenth of a second. */
  const slices = ({ requests = 1_000, failed = 0, slow = 0 }: Partial<Slice>, at?: number): Slice[] =>
    Array.from({ length: 10 }, (_, index) => {
      const part = (of: number) => (at === undefined ? of / 10 : index === at ? of : 0)
      return { requests: requests / 10, failed: part(failed), slow: part(slow) }
    })
  it.each<[string, Partial<AnswerWindow>, Partial<Slice>, RegExp | undefined]>([
    ['as before', {}, {}, undefined],
    ['a few more errors', { failed: 10 }, { failed: 29 }, undefined],
    ['so few more than allowed that it may be chance', { failed: 10 }, { failed: 40 }, undefined],
    ['more errors than allowed', { failed: 10 }, { failed: 90 }, /9\.0 % of 1000 requests failed, 1\.0 % before/],
    ['one of twenty', { requests: 100 }, { requests: 50, failed: 2 }, undefined],
    ['all fail, but there are too few to judge', {}, { requests: 40, failed: 40 }, undefined],
    ['all of few fail', {}, { requests: 50, failed: 50 }, /100\.0 % of 50/],
    ['errors and nothing before', { requests: 0 }, { failed: 100 }, /10\.0 % of 1000 requests failed, none before/],
    ['as many slow ones as before', {}, { slow: 20 }, undefined],
    ['too many slow ones', {}, { slow: 80 }, /8\.0 % of the requests took longer than 90\.0 ms; p99 30\.0 ms before/],
    ['slow ones, and nothing to compare with', { requests: 10 }, { slow: 1_000 }, undefined],
    ['slow ones, and little to compare with', { requests: 60 }, { requests: 60, slow: 12 }, undefined],
  ])('%s', (_, before, after, worse) => {
    const found = worsening(window(before), slices(after), DEFAULT_BOUNDS)
    if (worse === undefined) expect(found).toBeUndefined()
    else expect(found).toMatch(worse)
  })

  it('a pause of the machine, bad for all that it hits, is no proof; a second one is', () => {
    expect(worsening(window({}), slices({ failed: 100, slow: 100 }, 4), DEFAULT_BOUNDS)).toBeUndefined()
    const twice = slices({ failed: 100 }, 4)
    twice[7] = { requests: 100, failed: 100, slow: 0 }
    expect(worsening(window({}), twice, DEFAULT_BOUNDS)).toMatch(/20\.0 %/)
  })

  it('what is slow follows from before, and never less than what scheduling alone can take', () => {
    expect(slowUs(window({}), DEFAULT_BOUNDS)).toBe(90_000)
    expect(slowUs(window({ p99Us: 100 }), DEFAULT_BOUNDS)).toBe(20_000)
    expect(slowUs(window({ requests: 49 }), DEFAULT_BOUNDS)).toBe(Number.POSITIVE_INFINITY)
  })

  it('what is likely shrinks with what was seen', () => {
    expect(likelyAtMost(0, 0)).toBe(1)
    expect(likelyAtMost(0, 50)).toBeCloseTo(0.088, 2)
    expect(likelyAtMost(10, 1_000)).toBeCloseTo(0.0224, 3)
    expect(likelyAtMost(5, 5)).toBe(1)
  })

  it('hundred watches over a service that is no worse, each looked at after each request, take back at most a few', () => {
    const random = new Random(7)
    let wrong = 0
    let missed = 0
    for (let watch = 0; watch < 100; watch++) {
      const [same, worse] = [0.03, 0.12].map((share) => {
        let failed = 0
        for (let requests = 1; requests <= 2_000; requests++) {
          if (random.chance(share)) failed++
          if (proves(failed, requests, 0.03)) return true
        }
        return false
      })
      if (same) wrong++
      if (!worse) missed++
    }
    expect(wrong).toBeLessThanOrEqual(3)
    expect(missed).toBe(0)
  })
})

describe('answers', () => {
  it('of the last seconds are summed up, older ones forgotten', () => {
    const answers = new RecentAnswers()
    for (let second = 0; second < 120; second++)
      for (let request = 0; request < 10; request++) answers.record(second * 100, request === 0, 1, second * 1_000)
    expect(answers.last(10_000, 119_500)).toMatchObject({ requests: 110, failed: 11 })
    expect(answers.last(10_000, 119_500).p50Us).toBeGreaterThan(10_000)
    expect(answers.last(500_000, 119_500).requests).toBe(600)
    expect(answers.last(10_000, 900_000).requests).toBe(0)
  })

  it('of a watched span are kept slice by slice, at most 256 however long it is', () => {
    const answers = new RecentAnswers()
    const span = answers.begin(5_000, 0)
    for (let ms = 0; ms < 100_000; ms += 10) answers.record(ms % 100 === 0 ? 9_000 : 1_000, ms % 50 === 0, 1, ms)
    const { window, slices } = answers.since(span)
    expect(window).toMatchObject({ requests: 10_000, failed: 2_000 })
    expect(slices.length).toBeGreaterThan(100)
    expect(slices.length).toBeLessThanOrEqual(256)
    const total = slices.reduce((sum, slice) => sum + slice.requests, 0)
    expect([total, slices.reduce((sum, slice) => sum + slice.slow, 0)]).toEqual([10_000, 1_000])
  })

  it('a guard ends its watch as soon as it is proven that things are worse than before', async () => {
    const answers = new RecentAnswers()
    for (let request = 0; request < 1_000; request++) answers.record(1_000, false)
    const guard = new Guard([answers], { ...DEFAULT_BOUNDS, watchMs: 60_000 })
    guard.changed()
    let request = 0
    const load = setInterval(() => {
      for (const end = request + 20; request < end; request++) answers.record(1_000, request % 2 === 0)
    }, 10)
    const judgement = await guard.watch(new AbortController().signal)
    clearInterval(load)
    expect(judgement).toMatchObject({ before: { requests: 1_000, failed: 0 }, tooFew: false })
    expect(judgement.worse).toMatch(/50\.0 %/)
    expect(judgement.watchedMs).toBeLessThan(60_000)
  })

  it('a guard that saw too few says so', async () => {
    const answers = new RecentAnswers()
    const guard = new Guard([answers], { ...DEFAULT_BOUNDS, watchMs: 100 })
    guard.changed()
    answers.record(1_000, true)
    const judgement = await guard.watch(new AbortController().signal)
    expect(judgement).toMatchObject({ tooFew: true, after: { requests: 1, failed: 1 } })
    expect(judgement.worse).toBeUndefined()
  })
})

describe('the shadow', () => {
  let mesh: Mesh
  afterEach(() => mesh.close())

  /** A mesh whose latest picks are `count` requests of a few keys. */
  async function picked(count: number): Promise<void> {
    mesh = await Mesh.open({ name: 'shadowed', seed: 1 })
    for (let index = 0; index < 4; index++) mesh.register('pay', { address: `http://pay-${index}` })
    const route = mesh.route('pay')
    for (let pick = 0; pick < count; pick++) route.complete(route.pick(`key-${pick % 50}`), 0, 100)
  }
  const side = (count: number, policy: ShadowSide['policy'] = {}, weight = 1): ShadowSide => ({
    policy,
    instances: Array.from({ length: count }, (_, index) => ({
      name: `http://pay-${index}`,
      latencyUs: 100,
      weight: index === 0 ? weight : 1,
    })),
  })
  const evaluated = (before: ShadowSide, after: ShadowSide) =>
    shadow(mesh, { services: [{ service: 'pay', before, after }] })?.services[0]

  it('says what would move, and moves nothing itself', async () => {
    await picked(800)
    const services = JSON.stringify(mesh.services())
    expect(mesh.recordedPicks().length).toBe(800)
    const same = evaluated(side(4), side(4))
    expect(same).toMatchObject({ picks: 800, moved: 0, keys: 50, keysMoved: 0, refused: { before: 0, after: 0 } })
    // One of four goes: only its keys move.
    const fewer = evaluated(side(4), side(3))
    const gone = same?.instances[3]?.before as number
    expect(fewer?.moved).toBeCloseTo(gone, 6)
    expect(fewer?.keysMoved).toBeLessThan(30)
    expect(fewer?.instances[3]).toMatchObject({ after: null })
    expect(JSON.stringify(mesh.services())).toBe(services)
  })

  it('sees weight, and limits that would refuse', async () => {
    mesh = await Mesh.open({ name: 'shadowed', seed: 1 })
    mesh.register('pay', { address: 'http://pay-0' })
    const route = mesh.route('pay')
    for (let pick = 0; pick < 1_000; pick++) route.complete(route.pick(), 0, 100)
    const weighted = evaluated(side(4, { balancer: 'random' }), side(4, { balancer: 'random' }, 5))
    expect(weighted?.instances[0]?.before).toBeCloseTo(0.25, 1)
    expect(weighted?.instances[0]?.after).toBeCloseTo(5 / 8, 1)
    expect(weighted?.moved).toBeCloseTo(3 / 8, 1)
    const slow = side(1, { concurrency: 1 })
    ;(slow.instances[0] as { latencyUs: number }).latencyUs = 10_000_000
    // A fast machine makes them all at once: as many as there are have a place.
    expect(evaluated(side(1, { concurrency: 1_000 }), slow)).toMatchObject({ refused: { before: 0, after: 999 } })
  })

  it('has nothing to say of services without picks, or a plan without services', async () => {
    await picked(10)
    expect(shadow(mesh, { services: [] })).toBeNull()
    expect(shadow(mesh, { services: [{ service: 'other', before: side(1), after: side(2) }] })).toBeNull()
  })
})
