/**
 * `linkmesh dlq`: the dead letters of a data folder. Looking works while another process has the folder open; what changes
 * them is done by that process, asked over its local socket.
 */
import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import { userInfo } from 'node:os'
import { join, resolve } from 'node:path'
import { type AdminSession, connectAdmin, findAdmins } from '../admin.js'
import { loadConfig } from '../config.js'
import type { DeadLetterSummary, DeadLetters, LetterFilter, LetterState, RedriveSummary } from '../dead-letters.js'
import { LinkmeshError } from '../errors.js'
import { Mesh } from '../mesh.js'
import { EXIT, UsageError } from './output.js'
import { startRun } from './up/run.js'

export interface LetterOptions {
  data: string
  json?: boolean
}

export interface FilterOptions extends LetterOptions {
  state?: LetterState[]
  service?: string
  reason?: string
  key?: string
  outcome?: 'delivered' | 'not-delivered' | 'unknown'
  /** Milliseconds since 1970. */
  after?: number
  before?: number
  id?: number[]
  from?: number
  limit?: number
}

export interface RedriveCommandOptions extends FilterOptions {
  config?: string
  dryRun?: boolean
  force?: boolean
  perSecond: number
}

export async function dlqList(options: FilterOptions): Promise<void> {
  await looking(options, async (letters) => {
    const page = await letters.list(filterOf(options))
    const stats = await letters.stats()
    if (options.json) {
      print(JSON.stringify({ ...page, stats }))
      return
    }
    for (const letter of page.letters) print(line(letter))
    const { dead, parked, redriving, redriven, dropped } = stats
    print(`${dead} dead, ${parked} parked, ${redriving} redriving, ${redriven} redriven, ${dropped} dropped`)
    if (page.next !== null) print(`more: --from ${page.next}`)
  })
}

export async function dlqShow(id: number, options: LetterOptions): Promise<void> {
  await looking(options, async (letters) => {
    const whole = await letters.get(id)
    if (options.json) {
      print(JSON.stringify(whole))
      return
    }
    const { letter, history } = whole
    print(line(whole))
    if (whole.parked !== undefined) print(`parked: ${whole.parked}`)
    print(`message: ${letter.message}`)
    print(`body (${letter.body.encoding}): ${letter.body.data}`)
    for (const [name, value] of Object.entries(letter.headers)) print(`header ${name}: ${value}`)
    for (const { atMs, instance, code, message, latencyUs } of letter.attempts)
      print(`attempt ${time(atMs)}  ${instance || 'no instance'}  ${code}  ${latencyUs} µs  ${message}`)
    for (const event of history) print(`${time(event.atMs)}  ${event.event}${'by' in event ? ` by ${event.by}` : ''}`)
  })
}

export async function dlqExport(options: FilterOptions & { output?: string }): Promise<void> {
  await looking(options, async (letters) => {
    const out = options.output === undefined ? process.stdout : createWriteStream(options.output)
    let count = 0
    for await (const letter of letters.export(filterOf(options))) {
      if (!out.write(`${JSON.stringify(letter)}\n`)) await once(out, 'drain')
      count++
    }
    if (out === process.stdout) return
    out.end()
    await once(out, 'finish')
    print(options.json ? JSON.stringify({ exported: count }) : `${count} letters exported to ${options.output}`)
  })
}

export async function dlqPurge(options: FilterOptions & { dryRun?: boolean }): Promise<void> {
  if (!hasCondition(options))
    throw new UsageError('say which letters: --service, --reason, --state, --key, --before, --after or --id')
  const filter = filterOf(options)
  const dryRun = options.dryRun === true
  const count = await here(
    options,
    () => withLetters(options, false, (letters) => letters.purge(filter, { dryRun, by: by('purge') })),
    (session) => session.ask<number>('purge', { filter, dryRun }, by('purge')),
  )
  if (options.json) print(JSON.stringify({ purged: count, dryRun }))
  else print(`${count} letters ${dryRun ? 'would be ' : ''}purged`)
}

/**
 * Sends the letters to the services of the process that has the folder open; when there is none, starts the services of
 * the config, without its gateway, and sends the letters to them.
 */
export async function dlqRedrive(options: RedriveCommandOptions): Promise<void> {
  const summary = await here(
    options,
    () => redriveByConfig(options),
    (session) =>
      session.ask<RedriveSummary>(
        'redrive',
        {
          filter: filterOf(options),
          options: { dryRun: options.dryRun === true, force: options.force === true, perSecond: options.perSecond },
        },
        by('redrive'),
      ),
  )
  print(options.json ? JSON.stringify(summary) : account(summary))
  if (summary.failed + summary.parked > 0) process.exitCode = EXIT.failed
}

async function redriveByConfig(options: RedriveCommandOptions): Promise<RedriveSummary> {
  const loaded = await loadConfig(options.config)
  const { gateway: _gateway, load: _load, ...config } = loaded.config
  const run = await startRun({ ...loaded, config: config as typeof loaded.config }, { data: resolve(options.data) })
  const stop = new AbortController()
  const interrupt = (): void => stop.abort()
  process.once('SIGINT', interrupt)
  process.once('SIGTERM', interrupt)
  try {
    const summary = await run.mesh.deadLetters.redriveAll(filterOf(options), {
      by: by('redrive'),
      dryRun: options.dryRun === true,
      force: options.force === true,
      perSecond: options.perSecond,
      signal: stop.signal,
      ...(process.stderr.isTTY
        ? { onProgress: ({ taken, delivered }) => process.stderr.write(`\r${taken} sent, ${delivered} delivered`) }
        : {}),
    })
    if (process.stderr.isTTY) process.stderr.write('\n')
    return summary
  } finally {
    process.off('SIGINT', interrupt)
    process.off('SIGTERM', interrupt)
    await run.close()
  }
}

function account({ taken, delivered, failed, parked, skipped, dryRun, cancelled, next }: RedriveSummary): string {
  if (dryRun) return `${taken} letters would be sent`
  const rest = cancelled ? `; stopped: go on with --from ${next}` : ''
  return `${taken} sent: ${delivered} delivered, ${failed} failed again, ${parked} parked, ${skipped} skipped${rest}`
}

/** Reads the folder as it is now; whoever has it open is not disturbed. */
async function looking(options: LetterOptions, work: (letters: DeadLetters) => Promise<void>): Promise<void> {
  await withLetters(options, true, work)
}

/** Does it in the process that has the folder open, when there is one and it listens, else in this one. */
async function here<T>(
  { data }: LetterOptions,
  alone: () => Promise<T>,
  there: (session: AdminSession) => Promise<T>,
): Promise<T> {
  const folder = resolve(data)
  const peer = (await findAdmins()).find((one) => one.data === folder)
  if (peer !== undefined) {
    const session = await connectAdmin(peer.path)
    try {
      return await there(session)
    } finally {
      session.close()
    }
  }
  try {
    return await alone()
  } catch (error) {
    if (!(error instanceof LinkmeshError) || error.code !== 'LM_LOCKED') throw error
    throw new LinkmeshError(
      'LM_LOCKED',
      `a running process has ${data} open and does not listen: stop it first, call mesh.admin.listen() in it, or do it there by mesh.deadLetters`,
      { cause: error },
    )
  }
}

async function withLetters<T>(
  { data }: LetterOptions,
  readOnly: boolean,
  work: (letters: DeadLetters) => Promise<T>,
): Promise<T> {
  const mesh = await Mesh.open({ name: `linkmesh-dlq-${process.pid}` })
  try {
    await mesh.deadLetters.openWith({ folder: join(resolve(data), 'dead-letters'), readOnly })
    return await work(mesh.deadLetters)
  } finally {
    await mesh.close({ graceMs: 0 })
  }
}

function filterOf(options: FilterOptions): LetterFilter {
  const { state, service, reason, key, outcome, after, before, id, from, limit } = options
  return {
    ...(state === undefined ? {} : { states: state }),
    ...(service === undefined ? {} : { service }),
    ...(reason === undefined ? {} : { reason }),
    ...(key === undefined ? {} : { key }),
    ...(outcome === undefined ? {} : { outcome }),
    ...(after === undefined ? {} : { afterMs: after }),
    ...(before === undefined ? {} : { beforeMs: before }),
    ...(id === undefined ? {} : { ids: id }),
    ...(from === undefined ? {} : { from }),
    ...(limit === undefined ? {} : { limit }),
  }
}

function hasCondition({ data: _, json: __, from: ___, limit: ____, ...conditions }: FilterOptions): boolean {
  const { state, service, reason, key, outcome, after, before, id } = conditions
  return [state, service, reason, key, outcome, after, before, id].some((condition) => condition !== undefined)
}

function line(letter: DeadLetterSummary): string {
  const { id, state, service, reason, outcome, attempts, redrives, lastDeathMs, key } = letter
  return `${id}  ${state}  ${time(lastDeathMs)}  ${service}${key === undefined ? '' : ` [${key}]`}  ${reason}  ${outcome}  ${attempts} attempts, ${redrives} redrives`
}

/** Who it is in a letter's history and the audit trail. */
function by(command: string): string {
  return `linkmesh dlq ${command}, ${userInfo().username}`
}

function time(ms: number): string {
  return new Date(ms).toISOString()
}

function print(text: string): void {
  process.stdout.write(`${text}\n`)
}
