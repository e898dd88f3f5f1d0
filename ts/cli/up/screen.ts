/** Where the figures go: a live picture in a terminal, one line a second without one, one JSON value a second with `--json`. */
import { createLogUpdate } from 'log-update'
import type { InstanceInfo } from '../../binding/contract.js'
import type { Config } from '../../config/schema.js'
import type { Mesh } from '../../mesh.js'
import { whole } from './format.js'
import type { Happenings } from './happenings.js'
import { type KeyOrders, Keys } from './keys.js'
import type { Monitor } from './monitor.js'
import type { Run } from './run.js'
import { INSTANCE_FIELD } from './serve-instance.js'
import type { Snapshot } from './snapshot.js'
import { render, renderLine } from './view.js'

export interface ScreenOptions {
  run: Run
  config: Config
  monitor: Monitor
  happenings: Happenings
  json: boolean
  quit: () => void
  /** Reloads the config. */
  reload: () => void
}

const EVERY_MS = 1_000

export class Screen {
  private readonly live: boolean
  private readonly paint: ReturnType<typeof createLogUpdate> | undefined
  private readonly keys: Keys
  private timer: NodeJS.Timeout | undefined
  private last: Snapshot | undefined
  private told = 0

  constructor(private readonly options: ScreenOptions) {
    this.live = process.stdout.isTTY === true && !options.json
    this.paint = this.live ? createLogUpdate(process.stdout) : undefined
    const { run, happenings, quit, reload } = options
    this.keys = new Keys(run.fleet, happenings, () => this.draw(), { quit, reload, ...ordersOf(run.mesh) })
  }

  /** Says once what runs. On the fallback: that everything shares one thread, and how to get more. */
  announce(seed: number): void {
    const { run, config, json } = this.options
    const { backend } = run.mesh
    if (json) {
      process.stdout.write(
        `${JSON.stringify({ type: 'up', url: run.gateway?.url ?? null, seed, backend, instances: run.fleet.instances, pid: process.pid, nodes: run.nodes().pids })}\n`,
      )
      return
    }
    const threads = new Set(run.fleet.instances.map((one) => `${one.node} ${one.thread}`)).size
    const processes = run.nodes().pids.length
    const where =
      backend.kind === 'native'
        ? `${threads} worker threads${processes > 1 ? ` of ${processes} processes` : ''}`
        : 'the main thread'
    const count = `${Object.keys(config.services).length} services, ${run.fleet.instances.length} instances in ${where}`
    process.stdout.write(
      `${config.name} is up${run.gateway ? ` at ${run.gateway.url}` : ''}: ${count}, ${backend.kind} backend · seed ${seed}\n`,
    )
    if (backend.kind === 'fallback')
      process.stdout.write(
        'The native addon is not loaded, so all instances share one thread; `linkmesh doctor` says why, `npm run build` with Rust installed builds it.\n',
      )
    if (run.load && run.load.planned !== null) process.stdout.write(`sending ${whole(run.load.planned)} requests\n`)
  }

  start(): void {
    this.timer = setInterval(() => {
      const { monitor, happenings } = this.options
      // A mesh that is closing has no journal any more.
      monitor.ask((text) => happenings.add(text)).catch(() => {})
      this.last = monitor.take() ?? this.last
      this.draw()
    }, EVERY_MS)
    if (!this.live || !process.stdin.isTTY) return
    process.stdin.setRawMode(true)
    process.stdin.setEncoding('utf8')
    process.stdin.on('data', this.onKey)
    process.stdin.resume()
  }

  /** Leaves the last picture standing. Idempotent. */
  stop(): void {
    if (this.timer === undefined) return
    clearInterval(this.timer)
    this.timer = undefined
    this.tell()
    this.paint?.done()
    if (!this.live || !process.stdin.isTTY) return
    process.stdin.off('data', this.onKey)
    process.stdin.setRawMode(false)
    process.stdin.pause()
  }

  private readonly onKey = (key: Buffer | string): void => this.keys.press(String(key))

  private draw(): void {
    const snapshot = this.last
    if (!snapshot || this.timer === undefined) return
    const { run, config, happenings, json } = this.options
    if (json) process.stdout.write(`${JSON.stringify({ type: 'second', ...snapshot })}\n`)
    else if (!this.paint) {
      this.tell()
      process.stdout.write(`${renderLine(snapshot)}\n`)
    } else
      this.paint(
        render({
          title: `${config.name}${run.gateway ? `  ${run.gateway.url}` : ''}`,
          backend: run.mesh.backend.kind,
          snapshot,
          happenings: happenings.newest(6),
          chosen: this.keys.chosen,
          planned: run.load?.planned ?? null,
          // A terminal that does not know its size says 0.
          rows: (process.stdout.rows || 24) - 1,
          color: !process.env.NO_COLOR,
        }),
      )
  }

  /** Without a live picture, what happened is written as it happens. */
  private tell(): void {
    if (this.live || this.options.json) return
    const { happenings } = this.options
    for (const { at, text } of happenings.newest(happenings.total - this.told))
      process.stdout.write(`${at.toFixed(0).padStart(4)} s  ${text}\n`)
    this.told = happenings.total
  }
}

/** What keys ask of the mesh itself. */
function ordersOf(mesh: Mesh): Pick<KeyOrders, 'eject' | 'redrive'> {
  return {
    eject: (service, id, forMs) =>
      Promise.all(
        mesh
          .services()
          .filter(({ name, instances }) => name.startsWith(`${service}.`) && instances.some((one) => isCalled(one, id)))
          .map(({ name }) => mesh.admin.eject({ service: name, instance: id }, { forMs, by: 'key' })),
      ),
    redrive: async () => {
      const { taken, delivered, failed, parked } = await mesh.deadLetters.redriveAll({}, { by: 'key' })
      const again = failed + parked
      return `you redrove ${taken} dead letters: ${delivered} delivered${again > 0 ? `, ${again} failed again` : ''}`
    },
  }
}

function isCalled({ metadata }: InstanceInfo, id: string): boolean {
  return metadata[INSTANCE_FIELD] === id
}
