/** Everything `linkmesh up` starts, in order, and its way down in the opposite order. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { type Gateway, type GatewayAnswer, startGateway } from '../../adapters/http.js'
import { compileModules } from '../../config/compile.js'
import type { Config } from '../../config/schema.js'
import type { LoadedConfig } from '../../config.js'
import { Mesh, type OpenOptions } from '../../index.js'
import type { LoadOptions } from '../load/messages.js'
import { type Fleet, startFleet } from './fleet.js'
import { instanceSpecs, modulesOf } from './instance-spec.js'
import { gatewayRoutes, type LiveParts } from './live-config.js'
import { LoadThread } from './load-thread.js'
import { NodesFleet, startNodes } from './nodes.js'
import { Upstreams } from './upstreams.js'

export interface RunOptions {
  port?: number
  seed?: number
  /** Processes, this one included; default 1. */
  nodes?: number
  /** Folder of dead letters and audit trail; without it nothing outlives the run. */
  data?: string
  /** Undefined: no load generator. */
  load?: Omit<LoadOptions, 'url' | 'module' | 'compiled'>
  onAnswer?: (answer: GatewayAnswer) => void
}

export interface Run {
  mesh: Mesh
  fleet: Fleet
  /** What another config can be applied to. */
  live: LiveParts
  gateway: Gateway | undefined
  load: LoadThread | undefined
  /** Process ids by node, this one first (undefined for one that is down), and how often one was lost. */
  nodes(): { pids: (number | undefined)[]; lost: number }
  /** Lets in-flight requests finish, then closes everything. Idempotent. */
  close(): Promise<void>
}

/** Starts mesh, instances, upstreams, gateway and load generator. What was started is closed again when a step fails. */
export async function startRun({ config, folder }: LoadedConfig, options: RunOptions): Promise<Run> {
  const closers: (() => Promise<unknown>)[] = []
  let closing: Promise<void> | undefined
  const close = () => (closing ??= closeAll(closers))
  try {
    const seed = options.seed ?? config.seed
    const { nodes = 1 } = options
    const place = await placeOf(config, folder, options)
    if (place.temporary) closers.push(() => rm(place.data, { recursive: true, force: true }))
    const mesh = await Mesh.open({
      name: config.name,
      ...(seed === undefined ? {} : { seed }),
      ...place.options,
    })
    closers.push(() => mesh.close())
    await listenForOrders(mesh)
    const compiled = await compileModules(modulesOf(config, folder, options.load !== undefined))
    const specs = instanceSpecs(config, folder, compiled)
    const fleet =
      nodes === 1
        ? await startFleet(mesh, specs, config.workers)
        : await startNodes(mesh, specs, { count: nodes, workers: config.workers, seed, data: place.data })
    closers.push(() => fleet.close())
    const upstreams = new Upstreams(mesh)
    upstreams.bring(config)
    let gateway: Gateway | undefined
    if (config.gateway) {
      gateway = await openGateway(mesh, config, options)
      closers.push(() => (gateway as Gateway).close())
    }
    let load: LoadThread | undefined
    if (options.load && gateway && config.load) {
      const module = resolve(folder, config.load.module)
      load = await LoadThread.prepare({
        ...options.load,
        url: gateway.url,
        module,
        compiled: compiled.get(module) ?? module,
      })
      closers.push(() => (load as LoadThread).close())
    }
    const several = fleet instanceof NodesFleet ? fleet : { pids: [process.pid], lost: 0 }
    const live = { mesh, fleet, upstreams, gateway }
    return { mesh, fleet, live, gateway, load, nodes: () => ({ pids: several.pids, lost: several.lost }), close }
  } catch (error) {
    await close()
    throw error
  }
}

/** How the mesh is opened: as a node when the config or `--nodes` says so, with a folder for its identity. */
async function placeOf(
  config: Config,
  folder: string,
  { nodes = 1, data }: RunOptions,
): Promise<{ options: OpenOptions; data: string; temporary: boolean }> {
  const { listen, join: targets } = config
  const kept = data === undefined ? { deadLetters: false } : { data }
  if (listen === undefined && targets === undefined && nodes === 1)
    // Without a folder dead letters are kept in memory: for the view, and to redrive.
    return { options: data === undefined ? { deadLetters: true } : { data }, data: data ?? folder, temporary: false }
  // A network that lasts no longer than this run leaves nothing behind.
  const temporary = data === undefined && listen === undefined && targets === undefined
  const place = data ?? (temporary ? await mkdtemp(join(tmpdir(), 'linkmesh-up-')) : resolve(folder, '.linkmesh'))
  return {
    options: {
      ...kept,
      data: place,
      nodeName: config.name,
      ...(listen === undefined && nodes === 1 ? {} : { listen: listen ?? 'quic://127.0.0.1:0' }),
      ...(targets === undefined ? {} : { join: targets as OpenOptions['join'] & object }),
    },
    data: place,
    temporary,
  }
}

/** Opens the socket of `linkmesh admin`. A machine where that is not possible still runs everything else. */
async function listenForOrders(mesh: Mesh): Promise<void> {
  try {
    await mesh.admin.listen()
  } catch (error) {
    process.stderr.write(`linkmesh: \`linkmesh admin\` cannot reach this process: ${(error as Error).message}\n`)
  }
}

async function closeAll(closers: (() => Promise<unknown>)[]): Promise<void> {
  // Worker threads do not keep the process alive, and neither does waiting for their end: it would stop half closed.
  const alive = setInterval(() => {}, 1_000)
  try {
    for (const close of closers.reverse()) await close()
  } finally {
    clearInterval(alive)
  }
}

function openGateway(mesh: Mesh, config: Config, options: RunOptions): Promise<Gateway> {
  const { host, port, routes, timeoutMs, limits, graceMs } = config.gateway as NonNullable<Config['gateway']>
  return startGateway({
    mesh,
    host,
    port: options.port ?? port,
    routes: gatewayRoutes(routes, config),
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
    ...(limits === undefined ? {} : { limits }),
    ...(graceMs === undefined ? {} : { graceMs }),
    ...(options.onAnswer === undefined ? {} : { onAnswer: options.onAnswer }),
  })
}
