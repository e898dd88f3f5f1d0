/** Remote memory between two processes: this one imports, a child exports. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type LinkmeshError, Mesh } from '../../ts/index.js'
import type { RemoteRegion } from '../../ts/memory/remote-region.js'
import { NO_NATIVE } from '../support/native.js'
import { founder, guest, type Node, NodeProcess } from '../support/node.js'

const pattern = (offset: number, length: number, seed = 0) =>
  Uint8Array.from({ length }, (_, at) => ((offset + at) * 7 + ((offset + at) >>> 8) + seed) & 0xff)

interface RegionOptions {
  own?: boolean
  /** Of the grant. */
  rights?: string
  /** Options of the export. */
  region?: object
  [key: string]: unknown
}

describe.skipIf(NO_NATIVE !== '')(`remote memory${NO_NATIVE === '' ? '' : `: ${NO_NATIVE}`}`, () => {
  let first: Node
  let mesh: Mesh
  let end: (() => Promise<void>) | undefined

  beforeAll(async () => {
    first = await founder()
    ;({ mesh, end } = await guest(first, 'memory'))
  })
  afterAll(() => end?.())

  it('says what it can', () => {
    expect(mesh.capabilities()).toContain('remote-memory')
    expect(mesh.capabilities().includes('host-memory')).toBe(process.platform === 'linux')
  })

  let count = 0
  /** A new region over there and a grant for this process. */
  async function region(
    bytes: number,
    { own = false, rights = 'rwa', region: options, ...grant }: RegionOptions = {},
  ): Promise<{ name: string; grant: string; remote: RemoteRegion }> {
    const name = `region-${++count}`
    expect(await first.node.ask('export', { name, bytes, own, options })).not.toHaveProperty('error')
    const answer = await first.node.ask('grant', { name, options: { to: mesh.nodeId, rights, ...grant } })
    expect(answer).not.toHaveProperty('error')
    return { name, grant: answer.grant, remote: await mesh.memory.import(answer.grant) }
  }

  /** Waits until the memory has come by descriptor; it always does on Linux. */
  async function mapped(remote: RemoteRegion): Promise<void> {
    while (remote.info().via !== 'shared-memory') await new Promise(setImmediate)
  }

  const kinds = process.platform === 'linux' ? (['quic', 'shared-memory'] as const) : (['quic'] as const)
  describe.each(kinds)('by %s', (via) => {
    const own = via === 'shared-memory'
    async function opened(bytes: number, options: object = {}) {
      const made = await region(bytes, { own, ...options })
      if (own) await mapped(made.remote)
      expect(made.remote.info().via).toBe(via)
      return made
    }

    it('reads and writes, into an array of its own or a target', async () => {
      const { name, remote } = await opened(1 << 20)
      expect(remote.length).toBe(1 << 20)
      for (const [offset, length] of [
        [0, 64],
        [1, 1],
        [13, 1_400],
        [(1 << 20) - 7, 7],
        [4_096, 65_536],
      ] as const) {
        await first.node.ask('fill', { name })
        expect(await remote.read(offset, length)).toEqual(pattern(offset, length))
        const target = new Uint8Array(length + 5)
        expect((await remote.read(offset, length, target)).buffer).toBe(target.buffer)
        expect(target.subarray(0, length)).toEqual(pattern(offset, length))
        expect(target.subarray(length)).toEqual(new Uint8Array(5))
        await remote.write(offset, pattern(offset, length, 99))
        const { hex } = await first.node.ask('bytes', { name, offset, length })
        expect(hex).toBe(Buffer.from(pattern(offset, length, 99)).toString('hex'))
      }
    })

    it('takes the bytes of a write before it returns', async () => {
      const { remote } = await opened(4_096)
      const bytes = Uint8Array.of(1, 2, 3)
      const large = new Uint8Array(2_000).fill(5)
      const writes = [remote.write(0, bytes), remote.write(100, large)]
      bytes.fill(9)
      large.fill(9)
      await Promise.all(writes)
      expect(await remote.read(0, 3)).toEqual(Uint8Array.of(1, 2, 3))
      expect(await remote.read(100, 2_000)).toEqual(new Uint8Array(2_000).fill(5))
    })

    it('adds, and compares and swaps, as Atomics do', async () => {
      const { name, remote } = await opened(64)
      await first.node.ask('store', { name, index: 1, value: 40 })
      expect(await remote.fetchAdd(8, 2n)).toBe(40n)
      expect(await remote.fetchAdd(8, -1n)).toBe(42n)
      expect(await remote.compareAndSwap(8, 41n, 7n)).toBe(41n)
      expect(await remote.compareAndSwap(8, 41n, 9n)).toBe(7n)
      expect(remote.casSync(8, 7n, (1n << 64n) - 1n)).toBe(7n)
      expect((await first.node.ask('word', { name, index: 1 })).value).toBe(String((1n << 64n) - 1n))
    })

    it('reads within the call', async () => {
      const { name, remote } = await opened(70_000)
      await first.node.ask('fill', { name })
      for (const length of [1, 64, 65_536]) {
        const target = new Uint8Array(length)
        remote.readSync(3, target)
        expect(target).toEqual(pattern(3, length))
      }
    })

    it('keeps the order of one thread, also between what is awaited and what is not', async () => {
      const { remote } = await opened(64)
      const all: Promise<unknown>[] = []
      for (let turn = 0n; turn < 500n; turn++) {
        all.push(remote.compareAndSwap(0, turn, turn + 1n).then((previous) => expect(previous).toBe(turn)))
        if (turn % 100n === 99n) {
          const target = new Uint8Array(8)
          all.push(Promise.resolve(await remote.fence()))
          remote.readSync(0, target)
          expect(new BigUint64Array(target.buffer)[0]).toBe(turn + 1n)
        }
      }
      await Promise.all(all)
    })

    it('sends 256 operations in one frame, each with its own answer', async () => {
      const { name, remote } = await opened(1 << 16)
      await first.node.ask('fill', { name })
      const batch = remote.batch()
      for (let at = 0; at < 64; at++) {
        batch.read(8 * at, 8)
        batch.fetchAdd(32_768 + 8 * (at % 8), 1n)
        batch.write(40_000 + at, Uint8Array.of(at))
        batch.compareAndSwap(50_000, BigInt(at), BigInt(at + 1))
      }
      expect(batch.length).toBe(256)
      expect(() => batch.read(0, 8)).toThrow(expect.objectContaining({ code: 'LM_LIMIT_EXCEEDED', limit: 256 }))
      const first50000 = new BigUint64Array((await remote.read(50_000, 8)).buffer)[0] as bigint
      await remote.compareAndSwap(50_000, first50000, 0n)
      const results = await batch.flush()
      const before = await remote.read(32_768, 8).then((bytes) => new BigUint64Array(bytes.buffer)[0] as bigint)
      for (let at = 0; at < 64; at++) {
        expect(results.bytes(4 * at)).toEqual(pattern(8 * at, 8))
        expect(results.value(4 * at + 3)).toBe(BigInt(at))
      }
      expect(results.value(1) + 8n).toBe(before)
      expect(await remote.read(40_000, 64)).toEqual(Uint8Array.from({ length: 64 }, (_, at) => at))
    })

    it('says which operation of a batch failed, and does the others', async () => {
      const { remote } = await opened(64, { rights: 'rw' })
      const batch = remote.batch()
      batch.write(0, Uint8Array.of(1))
      batch.fetchAdd(8, 1n)
      batch.read(60, 8)
      batch.read(0, 1)
      const error = await batch.flush().catch((cause) => cause)
      expect(error).toMatchObject({ code: 'LM_DENIED', field: 'rights', name: 'BatchError', outcome: 'not-delivered' })
      expect(error.results.error(2)).toMatchObject({ code: 'LM_INVALID_ARGUMENT', field: 'offset', limit: 64 })
      expect(error.results.bytes(3)).toEqual(Uint8Array.of(1))
    })

    it('batches beside other operations: bodies, targets and shared memory stay apart', async () => {
      const { remote } = await opened(4_096)
      const alone = remote.write(0, Uint8Array.of(9, 9, 9))
      const writes = remote.batch()
      for (let at = 0; at < 100; at++) writes.write(100 + 3 * at, Uint8Array.of(at, at + 1, at + 2))
      const also = remote.batch()
      also.write(1_000, Uint8Array.of(7))
      await Promise.all([alone, writes.flush(), also.flush()])
      const reads = remote.batch()
      const targets = Array.from({ length: 50 }, () => new Uint8Array(4))
      for (let at = 0; at < 100; at++) {
        if (at % 2 === 0) reads.read(100 + 3 * at, 3)
        else reads.read(100 + 3 * at, 3, targets[at >> 1])
      }
      reads.fetchAdd(2_000, 5n)
      reads.read(1_000, 1)
      const again = new AbortController()
      again.abort()
      await expect(reads.flush({ signal: again.signal })).rejects.toMatchObject({ code: 'LM_CANCELLED' })
      const results = await reads.flush()
      for (let at = 0; at < 100; at++) expect([...results.bytes(at)]).toEqual([at, at + 1, at + 2])
      expect([...(targets[1] as Uint8Array)]).toEqual([3, 4, 5, 0])
      expect(results.value(100)).toBe(0n)
      expect([...results.bytes(101)]).toEqual([7])
      expect(() => results.bytes(100)).toThrow(/is not a read/)
      reads.read(0, 3)
      expect([...(await reads.flush()).bytes(0)]).toEqual([9, 9, 9])
      expect([...results.bytes(98)]).toEqual([98, 99, 100])
    })

    it('carries 16 MiB both ways, with progress', async () => {
      const bytes = 16 << 20
      const { name, remote } = await opened(bytes)
      await first.node.ask('fill', { name })
      const seen: number[] = []
      const read = await remote.read(0, bytes, undefined, {
        onProgress: (moved, total) => {
          expect(total).toBe(bytes)
          seen.push(moved)
        },
      })
      expect(Buffer.compare(read, pattern(0, bytes))).toBe(0)
      expect(seen).toEqual([...seen].sort((a, b) => a - b))
      if (!own) expect(seen.length).toBeGreaterThan(1)
      const other = pattern(0, bytes, 1)
      await remote.write(0, other)
      const { createHash } = await import('node:crypto')
      expect((await first.node.ask('hash', { name })).sha256).toBe(createHash('sha256').update(other).digest('hex'))
    })

    it('splits what is longer', async () => {
      const bytes = (16 << 20) + 100_001
      const { name, remote } = await opened(bytes)
      await first.node.ask('fill', { name })
      const target = new Uint8Array(bytes)
      await remote.read(0, bytes, target)
      expect(Buffer.compare(target, pattern(0, bytes))).toBe(0)
    })

    it('notices a write half way', async () => {
      const { name, remote } = await opened(4_096)
      const churn = first.node.ask('churn', { name, words: 128, turns: 20_000 })
      let whole = 0
      let running = true
      void churn.then(() => {
        running = false
      })
      while (running) {
        const found = await remote.readVersioned(8, 1_024, { version: 0 })
        if (found.torn) continue
        whole++
        const words = new BigUint64Array(found.bytes.buffer, found.bytes.byteOffset, 128)
        expect(new Set(words).size).toBe(1)
        expect(words[0]).toBe(found.version / 2n)
      }
      expect(whole).toBeGreaterThan(0)
      const last = await remote.readVersioned(8, 1_024, { version: 0 })
      expect(last).toMatchObject({ torn: false, version: 40_000n })
    })

    it('adds exactly once while the other side adds to the same word', async () => {
      const { name, remote } = await opened(64)
      const times = 20_000
      const theirs = first.node.ask('add', { name, index: 0, times })
      let outstanding: Promise<bigint>[] = []
      for (let time = 0; time < times; time++) {
        outstanding.push(remote.fetchAdd(0, 1n))
        if (outstanding.length === 200) {
          await Promise.all(outstanding)
          outstanding = []
        }
      }
      await Promise.all(outstanding)
      await theirs
      expect((await first.node.ask('word', { name, index: 0 })).value).toBe(String(2 * times))
    })

    it('gives no more than the grant', async () => {
      // What goes by descriptor is a whole region, and only a seal makes it read-only.
      const slice = own ? {} : { offset: 64, length: 128 }
      const start = slice.offset ?? 0
      const { name, remote } = await opened(own ? 128 : 4_096, { rights: 'r', region: { rights: 'r' }, ...slice })
      if (!own) await first.node.ask('fill', { name })
      expect(remote.length).toBe(128)
      expect(remote.rights).toBe('r')
      expect(await remote.read(0, 128)).toEqual(own ? new Uint8Array(128) : pattern(start, 128))
      await expect(remote.read(1, 128)).rejects.toMatchObject({ code: 'LM_INVALID_ARGUMENT', limit: 128 })
      await expect(remote.write(0, Uint8Array.of(1))).rejects.toMatchObject({ code: 'LM_DENIED', field: 'rights' })
      await expect(remote.fetchAdd(0, 1n)).rejects.toMatchObject({ code: 'LM_DENIED', outcome: 'not-delivered' })
      expect(() => remote.casSync(0, 1n, 1n)).toThrow(expect.objectContaining({ code: 'LM_DENIED' }))
      await expect(remote.write(0, new Uint8Array(100))).rejects.toMatchObject({ code: 'LM_DENIED' })
    })

    it('ends with its grant', async () => {
      const { grant, remote } = await opened(64)
      const other = await opened(64)
      await first.node.ask('revoke', { grant })
      await expect(remote.read(0, 8)).rejects.toMatchObject({ code: 'LM_REVOKED', outcome: 'not-delivered' })
      expect(() => remote.readSync(0, new Uint8Array(8))).toThrow(expect.objectContaining({ code: 'LM_REVOKED' }))
      await expect(mesh.memory.import(grant)).rejects.toMatchObject({ code: 'LM_REVOKED' })
      expect(await other.remote.read(0, 8)).toHaveLength(8)
    })

    it('ends in the middle when the region is revoked, and says what became of each operation', async () => {
      const { name, remote } = await opened(1 << 16)
      const answers = { done: 0, revoked: 0 }
      const revoked = first.node.ask('revokeRegion', { name })
      while (answers.revoked === 0) {
        const some = Array.from({ length: 32 }, (_, at) =>
          remote.fetchAdd(8 * at, 1n).then(
            () => answers.done++,
            (error) => {
              expect(error).toMatchObject({ code: 'LM_REVOKED', outcome: 'not-delivered' })
              answers.revoked++
            },
          ),
        )
        await Promise.all(some)
      }
      await revoked
    })

    it('ends when its time is over', async () => {
      const { remote } = await opened(64, { ttlMs: 300 })
      expect(await remote.read(0, 8)).toHaveLength(8)
      const error = await (async () => {
        for (;;)
          try {
            await remote.read(0, 8)
            await new Promise(setImmediate)
          } catch (cause) {
            return cause
          }
      })()
      expect(error).toMatchObject({ code: 'LM_EXPIRED', outcome: 'not-delivered' })
    })

    it('lets timers and sockets have their turn during a loop that never waits for them', async () => {
      const { remote } = await opened(64)
      let ticks = 0
      const timer = setInterval(() => ticks++, 1)
      const target = new Uint8Array(8)
      let turns = 0
      for (; ticks < 20; turns++) {
        await remote.read(0, 8, target)
        await remote.fetchAdd(8, 1n)
      }
      clearInterval(timer)
      expect(await remote.fetchAdd(8, 0n)).toBe(BigInt(turns))
    })

    it('is cancelled before it begins, not after it is done', async () => {
      const { remote } = await opened(64)
      const controller = new AbortController()
      expect(await remote.fetchAdd(0, 1n, { signal: controller.signal })).toBe(0n)
      controller.abort()
      await expect(remote.fetchAdd(0, 1n, { signal: controller.signal })).rejects.toMatchObject({
        code: 'LM_CANCELLED',
      })
      expect(await remote.fetchAdd(0, 0n)).toBe(1n)
    })

    it('does what was written before what is done at once', async () => {
      const { remote } = await opened(64)
      await remote.read(0, 8)
      // The write is in the page, not submitted, when the read is asked for.
      const written = remote.write(0, Uint8Array.of(5))
      const read = remote.read(0, 1)
      const added = remote.fetchAdd(0, 1n)
      expect(await read).toEqual(Uint8Array.of(5))
      expect(await added).toBe(5n)
      await written
    })

    it('is closed once', async () => {
      const { remote } = await opened(64)
      const { remote: other } = await opened(64)
      remote.close()
      remote.close()
      await expect(remote.read(0, 8)).rejects.toMatchObject({ code: 'LM_CLOSED' })
      expect(() => remote.info()).toThrow(expect.objectContaining({ code: 'LM_CLOSED' }))
      expect(await other.read(0, 8)).toHaveLength(8)
    })
  })

  it('gives up a transfer that is cancelled, and none after it', async () => {
    const { name, remote } = await region(16 << 20)
    await first.node.ask('fill', { name })
    const controller = new AbortController()
    const read = remote.read(0, 16 << 20, undefined, {
      signal: controller.signal,
      onProgress: () => controller.abort(new Error('enough')),
    })
    await expect(read).rejects.toMatchObject({ code: 'LM_CANCELLED', outcome: 'not-delivered' })
    expect(await remote.read(5, 100_000)).toEqual(pattern(5, 100_000))
    const written = new AbortController()
    const write = remote.write(0, new Uint8Array(16 << 20).fill(1), {
      signal: written.signal,
      onProgress: () => written.abort(),
    })
    await expect(write).rejects.toMatchObject({ code: 'LM_CANCELLED', outcome: 'unknown' })
    await remote.fence()
  })

  it('waits with a fence for transfers that began before it', async () => {
    const { name, remote } = await region(4 << 20)
    const write = remote.write(0, pattern(0, 4 << 20, 3))
    await remote.fence()
    const { sha256 } = await first.node.ask('hash', { name })
    const { createHash } = await import('node:crypto')
    expect(sha256).toBe(
      createHash('sha256')
        .update(pattern(0, 4 << 20, 3))
        .digest('hex'),
    )
    await write
  })

  it('refuses a grant that was given to another node, or to nobody', async () => {
    const { name, grant } = await region(64)
    const { grant: foreign } = await first.node.ask('grant', {
      name,
      options: { to: first.info.nodeId, rights: 'r' },
    })
    await expect(mesh.memory.import(foreign)).rejects.toMatchObject({ code: 'LM_DENIED' })
    await expect(mesh.memory.import(`${grant.slice(0, -4)}AAAA`)).rejects.toMatchObject({
      code: 'LM_INVALID_ARGUMENT',
      field: 'grant',
    })
    await expect(mesh.memory.import('scores')).rejects.toMatchObject({ code: 'LM_INVALID_ARGUMENT', field: 'grant' })
  })

  it('lets each worker thread wait by itself, and adds up', async () => {
    const { name, grant, remote } = await region(1 << 18)
    const times = 600
    const threads = Array.from({ length: 3 }, (_, at) => {
      const workerData = { name: mesh.name, grant, times, leave: at === 2 }
      const thread = new Worker(new URL('./fixtures/memory-thread.mjs', import.meta.url), { workerData })
      return new Promise<number>((resolve, reject) => thread.once('error', reject).once('exit', resolve))
    })
    for (let time = 0; time < times; time++) await remote.fetchAdd(0, 1n)
    expect(await Promise.all(threads)).toEqual([0, 0, 0])
    expect((await first.node.ask('word', { name, index: 0 })).value).toBe(String(4 * times))
    // What the thread that went had under way does not disturb the next one that gets its queue.
    const [next] = await Promise.all([remote.read(0, 8), remote.fence()])
    expect(new BigUint64Array(next.buffer)[0]).toBe(BigInt(4 * times))
  })

  it('sleeps while nothing comes, and is woken by the answer', async () => {
    const { remote } = await region(64)
    for (let turn = 0; turn < 5; turn++) {
      // Stopped: the answer comes long after this thread has gone to sleep.
      first.node.child.kill('SIGSTOP')
      const read = remote.read(0, 8, undefined, { timeoutMs: 10_000 })
      const before = process.cpuUsage()
      const began = performance.now()
      // Not until something has happened: over this time it is measured what the wait uses.
      await new Promise((resolve) => setTimeout(resolve, 200))
      const { user, system } = process.cpuUsage(before)
      const elapsed = (performance.now() - began) * 1_000
      first.node.child.kill('SIGCONT')
      expect(await read).toHaveLength(8)
      // A thread that looked all the time would need all of it.
      expect(user + system).toBeLessThan(elapsed / 2)
    }
  })

  describe('when the other process is gone', () => {
    async function pair(own: boolean) {
      const other = await founder()
      const { token } = await other.node.ask('invite')
      const folder = mkdtempSync(join(tmpdir(), 'linkmesh-memory-'))
      const near = await Mesh.open({
        name: `memory-gone-${process.pid}-${++count}`,
        join: [{ address: other.info.listening, token }],
        data: folder,
      })
      await other.node.ask('export', { name: 'scores', bytes: 1 << 20, own })
      const { grant } = await other.node.ask('grant', {
        name: 'scores',
        options: { to: near.nodeId, rights: 'rwa' },
      })
      const remote = await near.memory.import(grant)
      if (own) await mapped(remote)
      const end = async () => {
        await near.close({ graceMs: 0 })
        rmSync(folder, { recursive: true, force: true })
      }
      return { other, near, remote, end }
    }

    it('says what is known of each operation', async () => {
      const { other, remote, end } = await pair(false)
      await remote.fetchAdd(0, 1n)
      // Stopped, so that what is sent is not answered; then killed.
      other.node.child.kill('SIGSTOP')
      const options = { timeoutMs: 1_500 }
      const sent = [
        remote.fetchAdd(0, 1n, options),
        remote.write(8, Uint8Array.of(1), options),
        remote.read(0, 8, undefined, options),
      ].map((answer) => answer.catch((error) => error))
      const large = remote.write(0, new Uint8Array(1 << 20), options).catch((error) => error)
      await new Promise(setImmediate)
      await other.node.end('SIGKILL')
      const [added, written, read] = await Promise.all(sent)
      expect(added).toMatchObject({ code: 'LM_DEADLINE_EXCEEDED', outcome: 'unknown' })
      expect(written).toMatchObject({ code: 'LM_DEADLINE_EXCEEDED', outcome: 'unknown' })
      expect(read).toMatchObject({ code: 'LM_DEADLINE_EXCEEDED', outcome: 'not-delivered' })
      expect(await large).toMatchObject({ code: 'LM_DEADLINE_EXCEEDED' })
      // Never sent: it certainly did not happen, whatever it is.
      await peerless()
      const later = await remote.fetchAdd(0, 1n, { timeoutMs: 100 }).catch((error) => error)
      expect(later).toMatchObject({ code: 'LM_DEADLINE_EXCEEDED', outcome: 'not-delivered' })
      await end()

      async function peerless() {
        for (let turn = 0; ; turn++) {
          const { outcome } = (await remote.fetchAdd(0, 1n, { timeoutMs: 50 }).catch((cause) => cause)) as LinkmeshError
          if (outcome === 'not-delivered') return
          expect(turn).toBeLessThan(200)
        }
      }
    })

    it.runIf(process.platform === 'linux')('leaves memory of this host without a word of its own', async () => {
      const { other, remote, end } = await pair(true)
      expect(await remote.fetchAdd(0, 3n)).toBe(0n)
      await other.node.end('SIGKILL')
      // Whatever is still done on the mapping is done; once the link is known to be gone, nothing is.
      const error = await (async () => {
        for (;;)
          try {
            await remote.fetchAdd(0, 1n, { timeoutMs: 100 })
            await new Promise(setImmediate)
          } catch (cause) {
            return cause as LinkmeshError
          }
      })()
      expect(error.code).toMatch(/^LM_(DEADLINE_EXCEEDED|NODE_LOST)$/)
      expect(() => remote.readSync(0, new Uint8Array(8), { timeoutMs: 50 })).toThrow(
        expect.objectContaining({ code: 'LM_DEADLINE_EXCEEDED', outcome: 'not-delivered' }),
      )
      await end()
    })

    it('goes on with the next process of that node, and never adds twice', async () => {
      const { other, remote, end } = await pair(false)
      await remote.fetchAdd(0, 1n)
      other.node.child.kill('SIGKILL')
      await other.node.ended
      const waiting = remote.fetchAdd(0, 1n, { timeoutMs: 20_000 }).catch((error) => error)
      const again = new NodeProcess(other.node.data)
      const info = await again.ask('open', { options: { listen: other.info.listening, data: other.node.data } })
      expect(info).toMatchObject({ nodeId: other.info.nodeId, listening: other.info.listening })
      await again.ask('export', { name: 'scores', bytes: 1 << 20 })
      // The grant was for the region of before: it opens nothing of the new one, and nothing was added there.
      const error = await waiting
      expect(error).toBeInstanceOf(Error)
      expect(error.code).toMatch(/^LM_(REVOKED|NODE_LOST|NOT_FOUND|DEADLINE_EXCEEDED)$/)
      expect((await again.ask('word', { name: 'scores', index: 0 })).value).toBe('0')
      await again.end('SIGKILL')
      await end()
    })
  })
})
