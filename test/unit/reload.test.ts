/** What decides over a reload, without a process: differences, bounds, what was answered, and the shadow. */
import { afterEach, describe, expect, it } from 'vitest'
import { configChanges, describeChange, fixedChanges } from '../../ts/config/changes.js'
import { parseConfig } from '../../ts/config/check.js'
import { Mesh } from '../../ts/index.js'
import { DEFAULT_BOUNDS, type Window, worsening } from '../../ts/reload/bounds.js'
import { Guard } from '../../ts/reload/guard.js'
import { RecentAnswers } from '../../ts/reload/recent.js'
import { type ShadowSide, shadow } from '../../ts/reload/shadow.js'

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
  const window = (own: Partial<Window>): Window => ({ requests: 1_000, failed: 0, p50Us: 1_000, p99Us: 30_000, ...own })
  it.each([
    ['as before', {}, {}, undefined],
    ['a few more errors', { failed: 10 }, { failed: 29 }, undefined],
    ['more errors than allowed', { failed: 10 }, { failed: 40 }, /4\.0 % of 1000 requests failed, 1\.0 % before/],
    ['all fail, but there are too few to judge', {}, { requests: 49, failed: 49 }, undefined],
    ['errors and nothing before', { requests: 0 }, { failed: 100 }, /10\.0 % of 1000/],
    ['slower within the factor', {}, { p99Us: 89_000 }, undefined],
    ['slower beyond the factor', {}, { p99Us: 91_000 }, /p99 91\.0 ms, 30\.0 ms before/],
    ['many times slower, and still good', { p99Us: 100 }, { p99Us: 19_000 }, undefined],
    ['slower, and nothing to compare with', { requests: 10 }, { p99Us: 900_000 }, undefined],
  ])('%s', (_, before, after, worse) => {
    const found = worsening(window(before), window(after), DEFAULT_BOUNDS)
    if (worse === undefined) expect(found).toBeUndefined()
    else expect(found).toMatch(worse)
  })
})

describe('answers', () => {
  it('of the last seconds are summed up, older ones forgotten', () => {
    const answers = new RecentAnswers()
    for (let second = 0; second < 120; second++)
      for (let request = 0; request < 10; request++) answers.record(second * 100, request === 0, second * 1_000)
    expect(answers.last(10_000, 119_500)).toMatchObject({ requests: 110, failed: 11 })
    expect(answers.last(10_000, 119_500).p50Us).toBeGreaterThan(10_000)
    expect(answers.last(500_000, 119_500).requests).toBe(600)
    expect(answers.last(10_000, 900_000).requests).toBe(0)
  })

  it('a guard ends its watch with the first window that is worse, and compares with what was before', async () => {
    const answers = new RecentAnswers()
    for (let request = 0; request < 100; request++) answers.record(1_000, false)
    const guard = new Guard(answers, { ...DEFAULT_BOUNDS, watchMs: 60_000 })
    guard.changed()
    for (let request = 0; request < 100; request++) answers.record(1_000, request % 2 === 0)
    const judgement = await guard.watch(new AbortController().signal)
    expect(judgement).toMatchObject({ before: { requests: 100, failed: 0 }, after: { requests: 100, failed: 50 } })
    expect(judgement.worse).toMatch(/50\.0 %/)
    expect(judgement.watchedMs).toBeLessThan(60_000)
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
