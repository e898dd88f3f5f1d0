/** Dead letters as users meet them: requests that fail are kept, listed, sent again, and outlive the process. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, it } from 'vitest'
import { LinkmeshError, Mesh } from '../../ts/index.js'
import { describe } from '../support/backend.js'

const closers: (() => Promise<void> | void)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

async function open(options: Parameters<typeof Mesh.open>[0] = {}): Promise<Mesh> {
  const mesh = await Mesh.open({ name: `dead-letters-${process.pid}-${Math.random()}`, deadLetters: true, ...options })
  closers.push(() => mesh.close({ graceMs: 0 }))
  return mesh
}

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'linkmesh-dlq-'))
  closers.push(() => rmSync(path, { recursive: true, force: true }))
  return path
}

/** Every letter so far; those of requests are written behind the caller's back. */
async function letters(mesh: Mesh, count: number) {
  for (;;) {
    const { letters } = await mesh.deadLetters.list({ states: ['dead', 'parked', 'redriven', 'redriving'] })
    if (letters.length >= count) return letters
    await new Promise((resolve) => setImmediate(resolve))
  }
}

describe('dead letters', () => {
  it('keeps a request that failed in the end, with its attempts, and delivers it when it is sent again', async () => {
    const mesh = await open()
    let broken = true
    const seen: unknown[] = []
    mesh.service(
      'orders.place',
      (body, ctx) => {
        if (broken) throw Object.assign(new Error('the till is closed'), { code: 'TILL_CLOSED' })
        seen.push([body, ctx.key, ctx.metadata])
        return 'placed'
      },
      { idempotent: true, policy: { retry: { limit: 1, minBackoffMs: 1, maxBackoffMs: 2 } } },
    )
    const options = { key: 'customer-7', metadata: { trace: 'abc' } }
    await expect(mesh.request('orders.place', { order: 7 }, options)).rejects.toThrow('the till is closed')
    const [summary] = await letters(mesh, 1)
    expect(summary).toMatchObject({
      state: 'dead',
      service: 'orders.place',
      reason: 'TILL_CLOSED',
      outcome: 'delivered',
      key: 'customer-7',
      attempts: 2,
      breaksOrder: true,
    })
    const { letter } = await mesh.deadLetters.get(summary?.id as number)
    expect(letter.body).toEqual({ encoding: 'json', data: '{"order":7}' })
    expect(letter.attempts.map(({ code, instance }) => [code, instance !== ''])).toEqual([
      ['TILL_CLOSED', true],
      ['TILL_CLOSED', true],
    ])

    expect(await mesh.deadLetters.redrive(summary?.id as number)).toBe('dead')
    expect((await letters(mesh, 1)).length, 'a redrive that fails makes no second letter').toBe(1)
    broken = false
    expect(await mesh.deadLetters.redrive(summary?.id as number)).toBe('redriven')
    expect(seen).toEqual([[{ order: 7 }, 'customer-7', { trace: 'abc' }]])
    const { history } = await mesh.deadLetters.get(summary?.id as number)
    expect(history.map(({ event }) => event)).toEqual([
      'redrive-started',
      'redrive-failed',
      'redrive-started',
      'redriven',
    ])
  })

  it('does not keep what was wrong, given up by its caller, or asked of a closed mesh', async () => {
    const mesh = await open()
    mesh.service('wrong', () => {
      throw Object.assign(new Error('no such order'), { status: 404 })
    })
    mesh.service('slow', () => new Promise(() => undefined))
    await expect(mesh.request('wrong', {})).rejects.toThrow()
    const signal = AbortSignal.abort()
    await expect(mesh.request('slow', {}, { signal })).rejects.toThrow()
    await expect(mesh.request('nobody', {})).rejects.toMatchObject({ code: 'LM_NOT_FOUND' })
    mesh.define('empty')
    await expect(mesh.request('empty', {})).rejects.toMatchObject({ code: 'LM_NO_INSTANCE' })
    expect((await letters(mesh, 1)).map(({ service, outcome }) => [service, outcome])).toEqual([
      ['empty', 'not-delivered'],
    ])
  })

  it('redrives all that match: dry run, progress, cancelled and resumed, each letter once', async () => {
    const mesh = await open()
    let served = 0
    const cancel = new AbortController()
    mesh.service('work', () => {
      served++
      if (served === 5) cancel.abort()
    })
    for (let n = 0; n < 20; n++)
      await mesh.deadLetters.append({ service: n % 2 === 0 ? 'work' : 'gone', reason: 'LM_NO_INSTANCE', body: { n } })
    const filter = { service: 'work' }
    const options = { perSecond: 100_000, concurrency: 1 }
    expect(await mesh.deadLetters.redriveAll(filter, { dryRun: true })).toMatchObject({ taken: 10, delivered: 0 })
    const progress: number[] = []
    const first = await mesh.deadLetters.redriveAll(filter, {
      ...options,
      signal: cancel.signal,
      onProgress: ({ delivered }) => progress.push(delivered),
    })
    expect(first).toMatchObject({ cancelled: true, delivered: 5 })
    expect(progress).toEqual([1, 2, 3, 4, 5])
    const second = await mesh.deadLetters.redriveAll({ ...filter, from: first.next }, options)
    expect(second).toMatchObject({ cancelled: false, delivered: 5 })
    expect(served).toBe(10)
    expect(await mesh.deadLetters.redriveAll({ service: 'gone' }, options)).toMatchObject({ failed: 10, delivered: 0 })
    expect(await mesh.deadLetters.stats()).toMatchObject({ redriven: 10, dead: 10 })
  })

  it('is limited in its rate', async () => {
    const mesh = await open()
    const at: number[] = []
    mesh.service('work', () => {
      at.push(performance.now())
    })
    for (let n = 0; n < 6; n++) await mesh.deadLetters.append({ service: 'work', reason: 'X' })
    await mesh.deadLetters.redriveAll({}, { perSecond: 50, concurrency: 4 })
    // Six at 50 a second span five intervals of 20 ms; a timer may be late, and by that much the next one early.
    expect((at.at(-1) as number) - (at[0] as number)).toBeGreaterThan(80)
  })

  it('brings back every kind of body as it was', async () => {
    const mesh = await open()
    const got: unknown[] = []
    mesh.service('echo', (body) => {
      got.push(body)
    })
    const bodies = [undefined, 'text äöü', { a: [1, null] }, new Uint8Array([0, 255, 7])]
    for (const body of bodies) await mesh.deadLetters.append({ service: 'echo', reason: 'X', body })
    await mesh.deadLetters.redriveAll({}, { perSecond: 100_000, concurrency: 1 })
    expect(got).toEqual(bodies)
  })

  it('refuses bad entries, filters and options by field', async () => {
    const mesh = await open()
    const { deadLetters } = mesh
    const circular: Record<string, unknown> = {}
    circular.self = circular
    for (const [call, field] of [
      [() => deadLetters.append({ service: '', reason: 'X' }), 'entry.service'],
      [() => deadLetters.append({ service: 'x' } as never), 'entry.reason'],
      [() => deadLetters.append({ service: 'x', reason: 'X', outcome: 'maybe' as never }), 'entry.outcome'],
      [() => deadLetters.append({ service: 'x', reason: 'X', wat: 1 } as never), 'entry.wat'],
      [() => deadLetters.append({ service: 'x', reason: 'X', body: circular }), 'body'],
      [() => deadLetters.append({ service: 'x', reason: 'X', body: 'x'.repeat(2 << 20) }), 'body'],
      [() => deadLetters.list({ wat: 1 } as never), 'filter.wat'],
      [() => deadLetters.list({ limit: 0 }), 'filter.limit'],
      [() => deadLetters.get(-1), 'id'],
      [() => deadLetters.redriveAll({}, { perSecond: 0 }), 'options.perSecond'],
      [() => deadLetters.redriveAll({}, { concurrency: 1_000 }), 'options.concurrency'],
      [() => mesh.audit.append({ actor: '', action: 'x' }), 'entry.actor'],
      [() => Mesh.open({ deadLetters: { wat: 1 } as never }), 'options.deadLetters.wat'],
    ] as [() => Promise<unknown>, string][]) {
      const error = await call().catch((error: unknown) => error)
      expect(error, field).toBeInstanceOf(LinkmeshError)
      expect((error as LinkmeshError).field).toBe(field)
    }
    expect((await deadLetters.list()).letters).toEqual([])
  })

  it('many appends at once are all acknowledged in order, whatever their size', async () => {
    const mesh = await open()
    const appends = Array.from({ length: 5_000 }, (_, n) =>
      mesh.deadLetters.append({ service: 'bulk', reason: 'X', body: 'ä'.repeat(n % 700) }),
    )
    expect(await Promise.all(appends)).toEqual(appends.map((_, n) => n + 1))
  })

  it('letters that are appended together come back each as it was, whatever is in them', async () => {
    const mesh = await open()
    const odd = ['plain', 'ä', '"quoted"\\ \n\u0000 \\ud800', '🙂', ',"service":"other"']
    const entries = odd.flatMap((text, at) =>
      odd.map((other) => ({
        service: `s${text}`,
        reason: `r${other}`,
        message: text,
        body: other,
        key: `k${other}`,
        headers: { h: other },
        attempts: at === 0 ? [] : [{ instance: other, atMs: at, code: text, message: other, latencyUs: 1 }],
        firstDeathMs: at,
        lastDeathMs: 99,
        idempotent: at % 2 === 0,
      })),
    )
    const ids = await Promise.all(entries.map((entry) => mesh.deadLetters.append(entry)))
    for (const [at, id] of ids.entries()) {
      const { letter } = await mesh.deadLetters.get(id)
      const { body, ...rest } = entries[at] as (typeof entries)[number]
      expect(letter).toMatchObject({ ...rest, body: { encoding: 'text', data: body } })
    }
  })

  it('a letter with half of a character in it is kept: the body as it was, the rest readable', async () => {
    const mesh = await open()
    const half = 'x\ud800'
    const got: unknown[] = []
    mesh.service('half', (body) => {
      got.push(body)
    })
    const id = await mesh.deadLetters.append({
      service: 'half',
      reason: half,
      message: half,
      body: half,
      headers: { h: half },
      attempts: [{ instance: half, atMs: 1, code: half, message: half, latencyUs: 1 }],
    })
    const { letter } = await mesh.deadLetters.get(id)
    expect(letter).toMatchObject({ reason: 'x\ufffd', message: 'x\ufffd', headers: { h: 'x\ufffd' } })
    await mesh.deadLetters.redrive(id)
    expect(got).toEqual([half])
  })
})

describe('dead letters on disk', () => {
  it('outlive the process, with the audit trail, and a second mesh is refused', async (context) => {
    const data = folder()
    const mesh = await Mesh.open({ name: `on-disk-${process.pid}`, data }).catch((error: unknown) => error)
    if (mesh instanceof LinkmeshError && mesh.code === 'LM_NATIVE_REQUIRED') {
      expect(mesh.message).toContain('native addon')
      context.skip()
      return
    }
    if (!(mesh instanceof Mesh)) throw mesh
    const id = await mesh.deadLetters.append({ service: 'orders', reason: 'X', body: { n: 1 } })
    await mesh.audit.append({ actor: 'ada', action: 'drain', target: 'orders' })
    expect(await mesh.deadLetters.stats()).toMatchObject({ dead: 1, durable: true })
    const second = await Mesh.open({ name: `on-disk-2-${process.pid}`, data }).catch((error: unknown) => error)
    expect(second).toMatchObject({ code: 'LM_LOCKED' })
    await mesh.close()
    await expect(mesh.deadLetters.append({ service: 'orders', reason: 'X' })).rejects.toMatchObject({
      code: 'LM_CLOSED',
    })

    const again = await Mesh.open({ name: `on-disk-${process.pid}`, data })
    closers.push(() => again.close({ graceMs: 0 }))
    expect((await again.deadLetters.get(id)).letter.body).toEqual({ encoding: 'json', data: '{"n":1}' })
    expect((await again.audit.tail(5)).map(({ entry }) => entry.action)).toEqual(['drain'])
    expect((await again.audit.verify()).problems).toEqual([])
    expect((await again.deadLetters.verify()).problems).toEqual([])
  })
})
