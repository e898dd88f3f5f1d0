/**
 * Memory of another process beside what else carries 64 bytes there and back: every contender has a process of its own on
 * this machine, and all take turns in shuffled rounds. Figures are medians of the rounds.
 *
 * `npm run bench -- memory --only hot,bulk` takes some of its parts.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buildBench } from '../harness/memory/build-bench.mjs'
import { dgram, native, net, quinnNapi, redis } from '../harness/memory/contenders.mjs'
import { linkmesh } from '../harness/memory/linkmesh.mjs'
import { bulk, large } from '../harness/memory/rows/bulk.mjs'
import { connects, handshakes, idle } from '../harness/memory/rows/connections.mjs'
import { sameHost } from '../harness/memory/rows/host.mjs'
import { hot, sleepy } from '../harness/memory/rows/latency.mjs'
import { many } from '../harness/memory/rows/many.mjs'
import { requests } from '../harness/memory/rows/requests.mjs'
import { stages } from '../harness/memory/rows/stages.mjs'
import { threads } from '../harness/memory/rows/threads.mjs'

/** What the suite is made of, in the order of the table. */
export const parts = {
  hot,
  sleepy,
  many,
  host: sameHost,
  requests,
  large,
  bulk,
  handshakes,
  connects,
  idle,
  threads,
  stages,
}

export async function run({ quick, random, only = Object.keys(parts) }) {
  const folder = mkdtempSync(join(tmpdir(), 'linkmesh-bench-sockets-'))
  const contenders = new Contenders({
    linkmesh: () => linkmesh(),
    'linkmesh, jumbo': () => linkmesh({ mtu: 9_000 }),
    'node:net': () => net(),
    'unix socket': () => net(join(folder, 'echo')),
    'node:dgram': dgram,
    'quinn through napi': quinnNapi,
    ioredis: redis,
    'raw UDP, spinning': async () => native(await buildBench('echo'), 'udp'),
    'raw UDP, blocking': async () => native(await buildBench('echo'), 'udp-block'),
    'plain quinn in Rust': async () => native(await buildBench('echo'), 'quinn'),
  })
  try {
    for (const name of only)
      await parts[name]({ quick, random, rounds: quick ? 5 : 21, ms: quick ? 100 : 250, contenders })
  } finally {
    await contenders.close()
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Each is started when a part first asks for it, and stays until the end. */
class Contenders {
  #make
  #made = new Map()

  constructor(make) {
    this.#make = make
  }

  /** `undefined`, said once, for a rival that this machine does not have. Without linkmesh there is no bench. */
  async get(name) {
    if (!this.#made.has(name)) this.#made.set(name, await this.#start(name))
    return this.#made.get(name)
  }

  async #start(name) {
    try {
      return await this.#make[name]()
    } catch (error) {
      if (name.startsWith('linkmesh')) throw error
      process.stdout.write(`  ${name} is left out: ${error.message}\n`)
    }
  }

  /** Those of these names that are there, by name. */
  async some(...names) {
    const found = {}
    for (const name of names) {
      const one = await this.get(name)
      if (one !== undefined) found[name] = one
    }
    return found
  }

  async close() {
    for (const one of this.#made.values()) await one?.close()
  }
}
