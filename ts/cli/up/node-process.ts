/** Entry of one of the other processes of `linkmesh up --nodes N`: joins the node with the gateway and serves its share. */
import { Mesh } from '../../index.js'
import { type FleetInstance, type LocalFleet, startFleet } from './fleet.js'
import { definePolicies, type InstanceSpec } from './instance-spec.js'
import type { Fault } from './serve-instance.js'

export interface NodeStart {
  type: 'start'
  /** Of its mesh. */
  name: string
  address: string
  /** Used when its folder has no identity yet. */
  token: string
  data: string
  specs: InstanceSpec[]
  workers?: number
  seed?: number
}

/** Another config. */
export interface NodeChange {
  type: 'change'
  /** Of the answer. */
  ask: number
  /** Instances to start here. */
  grow?: readonly InstanceSpec[]
  /** All instances of the network as they are from now on. */
  describe?: readonly InstanceSpec[]
  /** Instances of this process that end when what they have taken is answered. */
  shrink?: readonly string[]
}

/** What the process with the gateway may ask. */
export type NodeCommand =
  | NodeStart
  | NodeChange
  | { type: 'fault'; id: string; fault?: Fault | undefined }
  | { type: 'block'; id: string; ms: number }
  | { type: 'close' }

/** What it is told. */
export type NodeMessage =
  | { type: 'ready'; instances: readonly FleetInstance[] }
  | { type: 'failed'; message: string }
  | { type: 'changed'; ask: number; instances: readonly FleetInstance[]; problem?: string }

let mesh: Mesh | undefined
let fleet: LocalFleet | undefined

const tell = (message: NodeMessage): void => {
  process.send?.(message)
}

async function start({ name, address, token, data, specs, workers, seed }: NodeStart): Promise<void> {
  mesh = await Mesh.open({
    name,
    nodeName: name,
    join: { address, token },
    data,
    deadLetters: false,
    ...(seed === undefined ? {} : { seed }),
  })
  fleet = await startFleet(mesh, specs, workers)
  tell({ type: 'ready', instances: fleet.instances })
}

async function change({ ask, grow = [], describe = [], shrink = [] }: NodeChange): Promise<void> {
  if (mesh === undefined || fleet === undefined) return
  const { instances } = fleet
  let problem: string | undefined
  try {
    await fleet.grow(grow)
    fleet.describe(describe)
    definePolicies(mesh, describe)
    await fleet.shrink(shrink)
  } catch (error) {
    problem = (error as Error).message
  }
  tell({ type: 'changed', ask, instances, ...(problem === undefined ? {} : { problem }) })
}

async function close(): Promise<void> {
  // The instances leave the other registries before their threads end.
  await fleet?.close()
  await mesh?.close()
  process.disconnect()
}

process.on('message', (command: NodeCommand) => {
  if (command.type === 'fault') fleet?.fault(command.id, command.fault)
  else if (command.type === 'block') fleet?.block(command.id, command.ms)
  else if (command.type === 'change') void change(command)
  else if (command.type === 'close') void close()
  else start(command).catch((error: Error) => tell({ type: 'failed', message: error.message }))
})
// Whoever started it has ended without a word.
process.on('disconnect', () => process.exit())
// A Ctrl-C reaches the whole group: the process with the gateway says when to end.
process.on('SIGINT', () => {})
process.on('SIGTERM', () => {})
