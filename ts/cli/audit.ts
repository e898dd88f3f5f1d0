/** `linkmesh audit`: the trail of a data folder. Works while another process writes it. */
import { once } from 'node:events'
import { join, resolve } from 'node:path'
import type { AuditLog, AuditRecord } from '../dead-letters.js'
import { Mesh } from '../mesh.js'
import { EXIT } from './output.js'

export interface AuditOptions {
  data: string
  json?: boolean
}

export async function auditTail(options: AuditOptions & { count: number }): Promise<void> {
  await looking(options, async (audit) => {
    for (const record of await audit.tail(options.count)) print(options.json ? JSON.stringify(record) : line(record))
  })
}

export async function auditExport(options: AuditOptions): Promise<void> {
  await looking(options, async (audit) => {
    for await (const record of audit.entries()) {
      if (!process.stdout.write(`${JSON.stringify(record)}\n`)) await once(process.stdout, 'drain')
    }
  })
}

/** Exit code 1 when the chain is broken, or when its head is not the one that was kept elsewhere. */
export async function auditVerify(
  options: AuditOptions & { room: 'audit' | 'dead-letters'; repair?: boolean },
): Promise<void> {
  const mesh = await Mesh.open({ name: `linkmesh-audit-${process.pid}` })
  try {
    const folder = join(resolve(options.data), options.room)
    if (options.repair) {
      // Any journal opens as a trail: what its records mean does not matter here.
      const { opened } = await mesh.audit.openWith({ folder, repair: true })
      for (const { what } of opened.recovery.dropped) process.stderr.write(`dropped: ${what}\n`)
      await mesh.audit.end(true)
    }
    const found = await mesh.audit.verifyFolder(folder)
    if (found.problems.length > 0) process.exitCode = EXIT.failed
    if (options.json) {
      print(JSON.stringify({ folder, valid: found.problems.length === 0, ...found }))
      return
    }
    for (const { segment, offset, what } of found.problems) print(`segment ${segment}, offset ${offset}: ${what}`)
    for (const { what } of found.repaired) print(`given up by a repair: ${what}`)
    const { records, firstSequence, lastSequence, removed, head } = found
    print(
      `${found.problems.length === 0 ? 'valid' : 'NOT VALID'}: ${records} records, ${firstSequence} to ${lastSequence}, ${removed} removed by the retention, head ${head}`,
    )
  } finally {
    await mesh.close({ graceMs: 0 })
  }
}

async function looking({ data }: AuditOptions, work: (audit: AuditLog) => Promise<void>): Promise<void> {
  const mesh = await Mesh.open({ name: `linkmesh-audit-${process.pid}` })
  try {
    await mesh.audit.openWith({ folder: join(resolve(data), 'audit'), readOnly: true })
    await work(mesh.audit)
  } finally {
    await mesh.close({ graceMs: 0 })
  }
}

function line({ sequence, entry }: AuditRecord): string {
  const { atMs, actor, action, target, details } = entry
  const rest = details === undefined ? '' : `  ${JSON.stringify(details)}`
  return `${sequence}  ${new Date(atMs).toISOString()}  ${actor}  ${action}${target === undefined ? '' : `  ${target}`}${rest}`
}

function print(text: string): void {
  process.stdout.write(`${text}\n`)
}
