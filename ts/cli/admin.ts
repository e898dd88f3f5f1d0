/** `linkmesh admin`: orders to a running mesh, and looks at it, by its local socket. */
import { once } from 'node:events'
import { userInfo } from 'node:os'
import { type AdminEvent, type AdminPeer, type AdminSession, connectAdmin, findAdmins } from '../admin.js'
import type { MeshEvent, ServiceInfo } from '../binding/contract.js'
import type { MetricsFormat } from '../metrics.js'
import { UsageError } from './output.js'
import { servicesText } from './services.js'

/** Which mesh is meant. */
export interface MeshChoice {
  mesh?: string
  pid?: number
  socket?: string
  json?: boolean
}

export interface OrderOptions extends MeshChoice {
  /** All instances of the service. */
  all?: boolean
}

/** Who gives the order, for the audit trail. */
const by = (): string => `linkmesh admin, ${userInfo().username}`

/** Connects to the mesh that is meant. When only one runs it need not be named. */
export async function adminSession(choice: MeshChoice): Promise<AdminSession> {
  if (choice.socket !== undefined) return connectAdmin(choice.socket)
  const all = await findAdmins()
  const found = all.filter(
    (peer) =>
      (choice.mesh === undefined || peer.mesh === choice.mesh) && (choice.pid === undefined || peer.pid === choice.pid),
  )
  const [peer, ...others] = found
  if (peer !== undefined && others.length === 0) return connectAdmin(peer.path)
  const running = (found.length > 0 ? found : all).map(({ mesh, pid }) => `${mesh} (pid ${pid})`).join(', ')
  if (found.length > 1) throw new UsageError(`several meshes run: ${running}; choose by --mesh or --pid`)
  if (all.length > 0) throw new UsageError(`no such mesh runs; there are ${running}`)
  throw new Error('no mesh of this user listens; start `linkmesh up`, or call mesh.admin.listen() in your program')
}

async function within<T>(choice: MeshChoice, work: (session: AdminSession) => Promise<T>): Promise<T> {
  const session = await adminSession(choice)
  try {
    return await work(session)
  } finally {
    session.close()
  }
}

export async function adminMeshes(options: { json?: boolean }): Promise<void> {
  const peers: AdminPeer[] = await findAdmins()
  if (options.json) print(JSON.stringify(peers))
  else if (peers.length === 0) print('no mesh of this user listens')
  else for (const { mesh, pid, linkmesh, path } of peers) print(`${mesh}  pid ${pid}  linkmesh ${linkmesh}  ${path}`)
}

export async function adminList(options: MeshChoice): Promise<void> {
  const services = await within(options, (session) => session.ask<ServiceInfo[]>('list'))
  print(options.json ? JSON.stringify(services) : servicesText(services))
}

/** An order about instances. `what` is said of them afterwards. */
export async function adminOrder(
  op: string,
  what: string,
  service: string,
  instance: string | undefined,
  args: object,
  options: OrderOptions,
): Promise<void> {
  if ((instance === undefined) === (options.all !== true))
    throw new UsageError('name one instance of the service (as `linkmesh admin list` shows it), or give --all')
  const target = { service, ...(instance === undefined ? {} : { instance }) }
  const handles = await within(options, (session) => session.ask<number[]>(op, { ...target, ...args }, by()))
  if (options.json) print(JSON.stringify({ op, service, instances: handles }))
  else print(`${instance ?? `${handles.length} instances of ${service}`} ${what}`)
}

/** `fields`: `breaker.openMs=500`; the value is JSON, or else a text. */
export async function adminPolicy(service: string, fields: string[], options: MeshChoice): Promise<void> {
  const policy = patchOf(fields)
  const after = await within(options, (session) =>
    session.ask<Record<string, unknown>>('change-policy', { service, policy }, by()),
  )
  print(
    options.json
      ? JSON.stringify({ service, policy: after })
      : `the policy of ${service} is now ${JSON.stringify(after, null, 2)}`,
  )
}

function patchOf(fields: string[]): object {
  const patch: Record<string, unknown> = {}
  for (const field of fields) {
    const at = field.indexOf('=')
    const path = field.slice(0, at).split('.')
    if (at < 1 || path.some((name) => !/^[A-Za-z]\w*$/.test(name)))
      throw new UsageError(`${JSON.stringify(field)}: give field=value, like balancer=adaptive or breaker.openMs=500`)
    let group = patch
    for (const name of path.slice(0, -1)) {
      if (typeof group[name] !== 'object' || group[name] === null) group[name] = Object.create(null)
      group = group[name] as Record<string, unknown>
    }
    group[path.at(-1) as string] = parsedValue(field.slice(at + 1))
  }
  return patch
}

function parsedValue(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

export async function adminDump(options: MeshChoice): Promise<void> {
  const dump = await within(options, (session) => session.ask('dump'))
  print(JSON.stringify(dump, null, options.json ? undefined : 2))
}

export async function adminMetrics(options: MeshChoice & { format: MetricsFormat }): Promise<void> {
  await within(options, async (session) => {
    let last = ''
    for await (const text of session.follow<string>('metrics', { format: options.format })) {
      if (!process.stdout.write(text)) await once(process.stdout, 'drain')
      last = text
    }
    if (!last.endsWith('\n')) process.stdout.write('\n')
  })
}

/** Until interrupted, or `count` events. */
export async function adminEvents(options: MeshChoice & { count?: number }): Promise<void> {
  await within(options, async (session) => {
    let left = options.count ?? Number.POSITIVE_INFINITY
    for await (const event of session.follow<AdminEvent>('follow')) {
      print(options.json ? JSON.stringify(event) : eventText(event))
      if (--left <= 0) return
    }
  })
}

function eventText(event: AdminEvent): string {
  if (event.kind === 'gap') return `${event.missed} events were missed`
  const at = `${(event.atUs / 1e6).toFixed(3)} s`
  return `${at}  ${event.kind}  ${detailsOf(event)}`
}

function detailsOf(event: MeshEvent): string {
  const { sequence: _, atUs: __, kind: ___, ...details } = event
  return Object.entries(details)
    .map(([name, value]) => `${name} ${value}`)
    .join('  ')
}

function print(text: string): void {
  process.stdout.write(`${text}\n`)
}
