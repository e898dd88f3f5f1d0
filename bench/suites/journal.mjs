/**
 * Durable records of 512 bytes: the Rust journal beside redb and fjall with so many in flight, then dead letters from
 * JavaScript beside better-sqlite3 (WAL, synchronous=FULL). Acknowledged means on the disk, for everybody.
 */
import { spawn, spawnSync } from 'node:child_process'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { quantile } from '../harness/measure.mjs'
import { built, rival } from '../harness/native.mjs'
import { shuffled } from '../harness/random.mjs'
import { report } from '../harness/report.mjs'

const crate = fileURLToPath(new URL('../journal', import.meta.url))
/** On the disk of the repository: the folder for temporary files is memory on many machines. */
const folder =
  process.env.LINKMESH_BENCH_FOLDER ?? fileURLToPath(new URL('../../.cache/bench/journal', import.meta.url))
const RECORD_BYTES = 512
const CONTENDERS = ['linkmesh', 'redb', 'fjall']
/** No contender: what the disk takes when groups of all that is in flight are only written and synced. */
const FLOOR = 'floor'

export async function run({ quick, random }) {
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  try {
    await fromRust(quick, random)
    await fromJavaScript(quick, random)
    process.stdout.write(`\nJetStream, file storage, sync_interval: always: not measured: ${jetStreamReason()}\n`)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

async function fromRust(quick, random) {
  const build = spawnSync('cargo', ['build', '--release'], { cwd: crate, encoding: 'utf8' })
  if (build.error || build.status !== 0)
    throw new Error(`the rivals in Rust did not build: ${build.error ?? build.stderr}`)
  const target = process.env.CARGO_TARGET_DIR ?? join(crate, 'target')
  const program = join(target, 'release', `linkmesh-bench-journal${process.platform === 'win32' ? '.exe' : ''}`)
  const child = spawn(program, [folder, quick ? '0.5' : '2', quick ? '2' : '5', String(random())], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const found = []
  for await (const line of createInterface({ input: child.stdout })) found.push(JSON.parse(line))
  if (child.exitCode === null) await new Promise((resolve) => child.on('close', resolve))
  if (child.exitCode !== 0) throw new Error('the rivals in Rust failed')
  for (const inFlight of [1, 64, 1_000, 8_000]) {
    const of = (name, field) =>
      quantile(
        found.filter((one) => one.name === name && one.inFlight === inFlight).map((one) => one[field]),
        0.5,
      )
    report({
      title: `Rust: records a second, ${inFlight.toLocaleString('en')} in flight`,
      unit: '/s',
      moreUnit: 'µs',
      better: 'higher',
      subject: 'linkmesh',
      lines: [...CONTENDERS, FLOOR].map((name) => ({
        name,
        value: of(name, 'rate'),
        more: { p50: of(name, 'p50Us'), p99: of(name, 'p99Us') },
      })),
      note: 'floor: write and fdatasync of preallocated files by the cache, no store. Only linkmesh keeps a hash chain.',
      ...(inFlight === 1_000
        ? {
            budget: 400_000,
            gates: [
              { rival: 'redb', atLeast: 3 },
              { rival: 'fjall', atLeast: 3 },
            ],
          }
        : {}),
    })
    if (inFlight !== 1_000) continue
    report({
      title: 'Rust: append to acknowledgement p99, 1,000 in flight',
      unit: 'µs',
      better: 'lower',
      subject: 'linkmesh',
      lines: CONTENDERS.map((name) => ({ name, value: of(name, 'p99Us') })),
      budget: 5_000,
    })
  }
}

async function fromJavaScript(quick, random) {
  const { Mesh } = await built('index.js')
  const ms = quick ? 500 : 2_000
  const contenders = [{ name: 'linkmesh', measure: () => ownRate(Mesh, ms) }]
  const sqlite = openSqlite()
  if (sqlite === undefined) process.stdout.write('\nbetter-sqlite3 does not load here: not measured\n')
  else {
    contenders.push({ name: 'better-sqlite3, a commit each', measure: () => sqliteRate(sqlite, 1, ms) })
    contenders.push({ name: 'better-sqlite3, 1,000 a commit', measure: () => sqliteRate(sqlite, 1_000, ms) })
  }
  const results = new Map(contenders.map(({ name }) => [name, []]))
  for (let round = 0; round <= (quick ? 2 : 5); round++) {
    for (const { name, measure } of shuffled(contenders, random)) {
      const measured = await measure()
      // The first round warms up.
      if (round > 0) results.get(name).push(measured)
    }
  }
  const of = (name, field) =>
    quantile(
      results.get(name).map((one) => one[field]),
      0.5,
    )
  report({
    title: 'JavaScript: deadLetters.append() a second, 1,000 in flight',
    unit: '/s',
    moreUnit: 'µs',
    better: 'higher',
    subject: 'linkmesh',
    lines: contenders.map(({ name }) => ({
      name,
      value: of(name, 'rate'),
      more: { p50: of(name, 'p50'), p99: of(name, 'p99') },
    })),
    budget: 200_000,
    note: 'better-sqlite3 is synchronous: its latency is that of the call, during which nothing else runs.',
  })
}

/** Why JetStream is no contender here. Without a sync for each acknowledgement it would answer another question. */
function jetStreamReason() {
  const server = (...args) => spawnSync('nats-server', args, { encoding: 'utf8' })
  const version = server('--version')
  if (version.error || version.status !== 0) return 'nats-server is not installed'
  const config = join(folder, 'nats.conf')
  writeFileSync(config, 'jetstream { store_dir: "store", sync_interval: always }\n')
  const checked = server('-t', '-c', config)
  const name = version.stdout.trim()
  if (checked.status !== 0) return `${name} refuses that setting: ${checked.stderr.trim().split(': ').at(-1)}`
  return `${name} takes that setting, and no client of it is among the rivals of bench/package.json`
}

let lives = 0

/** A thousand callers, each awaiting one append after the other. */
async function ownRate(Mesh, ms) {
  const data = join(folder, `own-${lives++}`)
  const mesh = await Mesh.open({ name: `bench-journal-${lives}`, data })
  const entry = { service: 'orders.place', reason: 'LM_NO_INSTANCE', outcome: 'not-delivered', key: 'customer-7' }
  const whole = () => Buffer.byteLength(JSON.stringify({ ...entry, body: '' }))
  // What the letter itself adds is about 230 bytes: the record is then 512.
  const body = 'x'.repeat(Math.max(1, RECORD_BYTES - whole() - 230))
  const times = []
  const end = performance.now() + ms
  let done = 0
  const caller = async () => {
    for (;;) {
      const began = performance.now()
      if (began >= end) return
      await mesh.deadLetters.append({ ...entry, body })
      done++
      if ((done & 15) === 0) times.push((performance.now() - began) * 1_000)
    }
  }
  const began = performance.now()
  await Promise.all(Array.from({ length: 1_000 }, caller))
  const took = (performance.now() - began) / 1_000
  const stats = await mesh.deadLetters.stats()
  if (stats.dead !== done) throw new Error(`${done} letters were acknowledged and ${stats.dead} are there`)
  await mesh.close()
  rmSync(data, { recursive: true, force: true })
  return { rate: done / took, p50: quantile(times, 0.5), p99: quantile(times, 0.99) }
}

function openSqlite() {
  try {
    const Database = rival('better-sqlite3')
    // Its binary is loaded with the first database.
    new Database(':memory:').close()
    return Database
  } catch {
    return undefined
  }
}

function sqliteRate(Database, group, ms) {
  const file = join(folder, `rows-${lives++}.sqlite`)
  const database = new Database(file)
  database.pragma('journal_mode = WAL')
  database.pragma('synchronous = FULL')
  database.exec('CREATE TABLE letters (id INTEGER PRIMARY KEY, record TEXT NOT NULL)')
  const insert = database.prepare('INSERT INTO letters (record) VALUES (?)')
  const record = 'x'.repeat(RECORD_BYTES)
  const commit = database.transaction((count) => {
    for (let n = 0; n < count; n++) insert.run(record)
  })
  const times = []
  let done = 0
  const began = performance.now()
  while (performance.now() - began < ms) {
    const at = performance.now()
    commit(group)
    times.push((performance.now() - at) * 1_000)
    done += group
  }
  const took = (performance.now() - began) / 1_000
  const { count } = database.prepare('SELECT count(*) AS count FROM letters').get()
  if (count !== done) throw new Error(`${done} rows were committed and ${count} are there`)
  database.close()
  rmSync(file, { force: true })
  return { rate: done / took, p50: quantile(times, 0.5), p99: quantile(times, 0.99) }
}
