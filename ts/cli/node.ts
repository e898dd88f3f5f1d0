/**
 * What the commands `resolve` and `ping` share: a node on the data folder for as long as the command runs. It serves nothing
 * and opens no journal, so it can run beside the process that the folder belongs to.
 */
import type { NodeOptions, NodeTarget, PingInfo, ResolutionInfo } from '../binding/contract-node.js'
import { loadBinding } from '../binding/index.js'
import { errorOfRejection, errorOfStatus, LinkmeshError } from '../errors.js'
import { nowMs } from '../mesh/clock.js'
import { DEFAULT_MTU } from '../mesh/options.js'
import { UsageError } from './output.js'

/** What it may cost to say goodbye. */
const GRACE_MS = 200

export interface AddressOptions {
  data: string
  via: string[]
  timeout: number
  json?: boolean
}

export interface CommandNode {
  resolve(): Promise<ResolutionInfo>
  ping(): Promise<PingInfo>
}

/** Opens a node that knows `address`, or somebody to ask about it; runs `use` on it; closes it. */
export async function withNode<T>(
  address: string,
  { data, via, timeout: timeoutMs }: AddressOptions,
  use: (node: CommandNode) => Promise<T>,
): Promise<T> {
  const known = address.startsWith('quic://') ? [address, ...via] : via
  const [first, ...others] = known.map((one): NodeTarget => ({ address: one, timeoutMs }))
  if (first === undefined)
    throw new UsageError(`say whom to ask about ${address}: --via quic://host:port of a node of the same network`)
  const { binding } = loadBinding()
  const mesh = binding.meshOpen(JSON.stringify({ name: `linkmesh-cli-${process.pid}` }))
  if (mesh < 0) throw errorOfStatus(binding, mesh, 'the command')
  const answer = async <Info>(asked: Promise<string>, what: string): Promise<Info> => {
    try {
      return JSON.parse(await asked) as Info
    } catch (cause) {
      throw errorOfRejection(cause, what)
    }
  }
  const options: NodeOptions & { join: NodeTarget[] } = {
    listen: [],
    data,
    network: 'linkmesh',
    latencyMode: 'adaptive',
    sameHost: false,
    mtu: DEFAULT_MTU,
    engineThreads: 1,
    relay: null,
    name: 'linkmesh',
    join: [first],
    nowMs: nowMs(),
  }
  try {
    await answer(binding.nodeOpen(mesh, JSON.stringify(options)), data).catch((error: unknown) => {
      if (error instanceof LinkmeshError && error.field?.endsWith('token') === true)
        throw new UsageError(`${data} has no identity yet: linkmesh join HOST:PORT TOKEN --data ${data}`)
      throw error
    })
    for (const target of [first, ...others])
      await answer(binding.nodeConnect(mesh, JSON.stringify(target)), `the node at ${target.address}`)
    const asked = JSON.stringify({ address, timeoutMs })
    return await use({
      resolve: () => answer(binding.nodeResolve(mesh, asked), address),
      ping: () => answer(binding.nodePing(mesh, asked), address),
    })
  } finally {
    // A node that was never opened has nothing to say goodbye to.
    if (binding.nodeInfo(mesh) !== '') await Promise.resolve(binding.nodeClose(mesh, GRACE_MS)).catch(() => undefined)
    binding.meshClose(mesh)
  }
}
