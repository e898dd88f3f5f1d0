/** Dead letters and the audit trail through the contract: both backends keep the same rules, in memory. */
import { expect, it } from 'vitest'
import { type Binding, type ErrorData, Status } from '../../ts/binding/contract.js'
import type { JournalOpened, JournalRequest } from '../../ts/binding/contract-journal.js'
import { onBothBackends } from './backends.js'
import { openMesh } from './open-mesh.js'

const letter = (service: string, fields: object = {}) => ({
  service,
  qos: 'best-effort',
  outcome: 'not-delivered',
  reason: 'LM_NO_INSTANCE',
  message: 'no instance is alive',
  body: { encoding: 'json', data: '{"n":1}' },
  headers: {},
  attempts: [{ instance: 'a', atMs: 1, code: 'LM_THREAD_ENDED', message: '', latencyUs: 5 }],
  firstDeathMs: 1,
  lastDeathMs: 1,
  idempotent: false,
  breaksOrder: false,
  ...fields,
})

/** A room of a fresh mesh: appends, waits for acknowledgements, asks. */
async function open(b: Binding, room: 'dead-letters' | 'audit', options = '') {
  const { mesh } = openMesh(b)
  const opened = JSON.parse(await b.journalOpen(mesh, room, options)) as JournalOpened
  const { handle } = opened
  let rung: () => void = () => undefined
  expect(b.journalOnAck(handle, () => rung())).toBe(0)
  const append = async (...values: unknown[]): Promise<number[]> => {
    const texts = values.map((value) => Buffer.from(JSON.stringify(value)))
    const lengths = Uint32Array.from(texts, (text) => text.length)
    const wake = new Promise<void>((resolve) => {
      rung = resolve
    })
    const first = b.journalAppend(handle, Buffer.concat(texts), lengths, texts.length)
    if (first < 0) throw Object.assign(new Error('refused'), { status: first })
    await wake
    const out = new Float64Array(3 * 64)
    const sequences: number[] = []
    while (sequences.length < texts.length) {
      const count = b.journalAcks(handle, out)
      for (let run = 0; run < count; run++) {
        const [from, many, sequence] = out.subarray(run * 3, run * 3 + 3) as unknown as [number, number, number]
        expect(from).toBe(first + sequences.length)
        for (let n = 0; n < many; n++) sequences.push(sequence + n)
      }
      if (count === 0) await new Promise((resolve) => setImmediate(resolve))
    }
    return sequences
  }
  const ask = async <T = unknown>(request: JournalRequest): Promise<T> =>
    JSON.parse(await b.journalAsk(handle, JSON.stringify(request))) as T
  const refusal = async (request: JournalRequest): Promise<Partial<ErrorData>> => {
    const error = await ask(request).then(
      () => undefined,
      (error: Error) => JSON.parse(error.message) as ErrorData,
    )
    if (error === undefined) throw new Error('it was not refused')
    return { status: error.status, ...(error.field === undefined ? {} : { field: error.field }) }
  }
  return { mesh, opened, append, ask, refusal }
}

onBothBackends('journal', (binding) => {
  it('acknowledges appends in order and says that memory is not durable', async () => {
    const { opened, append } = await open(binding(), 'dead-letters')
    expect(opened).toMatchObject({ joined: false, durable: false })
    expect(await append(letter('a'), letter('b'))).toEqual([1, 2])
    expect(await append(letter('c'))).toEqual([3])
  })

  it('lists by filter and page', async () => {
    const { append, ask } = await open(binding(), 'dead-letters')
    await append(...Array.from({ length: 30 }, (_, n) => letter(n % 3 === 0 ? 'x' : 'y', { lastDeathMs: n })))
    const ids = async (filter: object) => {
      const page = await ask<{ letters: { id: number }[]; next: number | null }>({ op: 'list', filter })
      return [page.letters.map(({ id }) => id), page.next]
    }
    expect(await ids({ service: 'x', limit: 4 })).toEqual([[1, 4, 7, 10], 10])
    expect(await ids({ service: 'x', limit: 40, from: 10 })).toEqual([[13, 16, 19, 22, 25, 28], null])
    expect(await ids({ afterMs: 28 })).toEqual([[29, 30], null])
    expect(await ids({ ids: [7, 8], beforeMs: 7 })).toEqual([[7], null])
    expect(await ids({ states: ['parked'] })).toEqual([[], null])
  })

  it('goes through the states of a letter, and keeps its history', async () => {
    const { append, ask, refusal } = await open(binding(), 'dead-letters', '{"parkAfter":2}')
    await append(letter('a', { key: 'k' }))
    const failed = {
      result: 'failed',
      outcome: 'not-delivered',
      reason: 'LM_SATURATED',
      attempts: letter('a').attempts,
    } as const
    for (const state of ['dead', 'parked']) {
      await ask({ op: 'start-redrive', id: 1, by: 'test' })
      expect(await refusal({ op: 'start-redrive', id: 1, by: 'test', force: true })).toEqual({
        status: Status.Conflict,
      })
      expect(await ask({ op: 'finish-redrive', id: 1, result: failed })).toBe(state)
    }
    expect(await refusal({ op: 'start-redrive', id: 1, by: 'test' })).toEqual({ status: Status.Conflict })
    await ask({ op: 'start-redrive', id: 1, by: 'test', force: true })
    expect(await ask({ op: 'finish-redrive', id: 1, result: { result: 'delivered' } })).toBe('redriven')
    expect(await refusal({ op: 'finish-redrive', id: 1, result: failed })).toEqual({ status: Status.Conflict })
    const whole = await ask<Record<string, unknown> & { history: { event: string }[] }>({ op: 'get', id: 1 })
    expect(whole).toMatchObject({
      id: 1,
      state: 'redriven',
      attempts: 3,
      redrives: 3,
      reason: 'LM_SATURATED',
      key: 'k',
    })
    expect(whole.letter).toEqual(letter('a', { key: 'k' }))
    expect(whole.history.map(({ event }) => event)).toEqual([
      'redrive-started',
      'redrive-failed',
      'redrive-started',
      'redrive-failed',
      'redrive-started',
      'redriven',
    ])
    expect(await ask({ op: 'stats' })).toMatchObject({ dead: 0, redriving: 0, redriven: 1, parked: 0, durable: false })
  })

  it('parks what may have been delivered, unless it is idempotent', async () => {
    const { append, ask } = await open(binding(), 'dead-letters')
    await append(letter('a'), letter('a', { idempotent: true }))
    const result = { result: 'failed', outcome: 'unknown', reason: 'LM_DEADLINE_EXCEEDED', attempts: [] } as const
    await ask({ op: 'start-redrive', id: 1, by: 'test' })
    expect(await ask({ op: 'finish-redrive', id: 1, result })).toBe('parked')
    await ask({ op: 'start-redrive', id: 2, by: 'test' })
    expect(await ask({ op: 'finish-redrive', id: 2, result })).toBe('dead')
  })

  it('purges what matches and leaves the rest', async () => {
    const { append, ask, refusal } = await open(binding(), 'dead-letters')
    await append(letter('a'), letter('b'), letter('a'))
    const purge = { op: 'purge', filter: { service: 'a' }, by: 'test' } as const
    expect(await ask({ ...purge, dryRun: true })).toBe(2)
    expect(await ask(purge)).toBe(2)
    expect(await refusal({ op: 'get', id: 1 })).toEqual({ status: Status.NotFound, field: 'id' })
    expect(await ask({ op: 'stats' })).toMatchObject({ dead: 1 })
  })

  it('refuses bad input with field and status', async () => {
    const b = binding()
    const { mesh, append, refusal } = await open(b, 'dead-letters', '{"maxRecordBytes":64}')
    await expect(append(letter('a'))).rejects.toMatchObject({ status: Status.LimitExceeded })
    expect(await refusal({ op: 'list', filter: { limit: 1_001 } })).toEqual({
      status: Status.LimitExceeded,
      field: 'limit',
    })
    expect(await refusal({ op: 'read' })).toEqual({ status: Status.InvalidArgument, field: 'request' })
    const again = await b.journalOpen(mesh, 'dead-letters', '{}').catch((error: Error) => JSON.parse(error.message))
    expect(again).toMatchObject({ status: Status.Conflict })
    const joined = JSON.parse(await b.journalOpen(mesh, 'dead-letters', '')) as JournalOpened
    expect(joined.joined).toBe(true)
    const none = await b.journalOpen(mesh, 'audit', '{"join":true}').catch((error: Error) => JSON.parse(error.message))
    expect(none).toMatchObject({ status: Status.NotFound })
    expect(b.journalAppend(0, new Uint8Array(4), new Uint32Array([4]), 1)).toBe(Status.StaleHandle)
    expect(b.journalAppend(joined.handle, new Uint8Array(4), new Uint32Array([5]), 1)).toBe(Status.InvalidArgument)
    expect(b.journalClose(joined.handle)).toBe(0)
    expect(b.journalClose(joined.handle)).toBe(Status.StaleHandle)
  })

  it('reads the audit trail from its end and by pages', async () => {
    const { append, ask } = await open(binding(), 'audit')
    await append(...Array.from({ length: 25 }, (_, n) => ({ actor: 'ada', action: 'drain', n })))
    type Page = { entries: { sequence: number; entry: { n: number } }[]; next: [number, number] | null }
    const tail = await ask<Page>({ op: 'read', query: { tail: 2 } })
    expect(tail.entries.map(({ sequence, entry }) => [sequence, entry.n])).toEqual([
      [24, 23],
      [25, 24],
    ])
    const seen: number[] = []
    let from: [number, number] | null | undefined
    while (from !== null) {
      const page: Page = await ask({ op: 'read', query: { limit: 10, ...(from === undefined ? {} : { from }) } })
      seen.push(...page.entries.map(({ sequence }) => sequence))
      from = page.next
    }
    expect(seen).toEqual(Array.from({ length: 25 }, (_, n) => n + 1))
  })
})
