/** This process as a node among others: identity, addresses, peers. */
import type {
  InviteOptions,
  NodeInfo,
  NodeTarget,
  PeerInfo,
  PingInfo,
  PingOptions,
  ResolutionInfo,
  ResolveOptions,
} from '../binding/contract-node.js'
import { errorOfRejection, type LinkmeshError } from '../errors.js'
import { checkFields, checkInteger, checkRecord, invalid } from './checks.js'
import { nowMs } from './clock.js'
import type { Core } from './core.js'
import { type CheckedNode, checkGlobalAddress, checkTarget, type JoinTarget } from './options.js'

const TIMEOUT_FIELDS = new Set(['timeoutMs'])
const DEFAULT_TIMEOUT_MS = 5_000
const LONGEST_TIMEOUT_MS = 300_000
const INVITE_FIELDS = new Set(['ttlMs'])
const DEFAULT_INVITE_MS = 600_000
const LONGEST_INVITE_MS = 86_400_000

/** Makes the process a node: its identity, its socket, then the nodes that it shall reach. */
export async function openNode(core: Core, { options, join }: CheckedNode): Promise<void> {
  const { binding, handle } = core
  try {
    await binding.nodeOpen(handle, JSON.stringify({ ...options, join: join.slice(0, 1), nowMs: nowMs() }))
  } catch (cause) {
    throw errorOfRejection(cause, 'the node')
  }
  await Promise.all(join.map((target) => connectNode(core, target)))
}

async function connectNode(core: Core, target: NodeTarget): Promise<PeerInfo> {
  try {
    return JSON.parse(await core.binding.nodeConnect(core.handle, JSON.stringify(target))) as PeerInfo
  } catch (cause) {
    throw errorOfRejection(cause, `the node at ${target.address}`)
  }
}

/** Reaches one more node of this network, wherever it is. */
export function connect(core: Core, target: JoinTarget): Promise<PeerInfo> {
  const checked = checkTarget(target, 'target', true)
  nodeInfo(core)
  return connectNode(core, checked)
}

/** What this node is; throws when the mesh stays within its process. */
export function nodeInfo(core: Core): NodeInfo {
  const text = core.binding.nodeInfo(core.handle)
  if (text === '') throw invalid('options', `mesh ${core.name} is no node: open it with listen or join`)
  return JSON.parse(text) as NodeInfo
}

export async function invite(core: Core, options: { ttlMs?: number }): Promise<string> {
  checkFields(checkRecord(options, 'options'), INVITE_FIELDS, 'options')
  const { ttlMs = DEFAULT_INVITE_MS } = options
  nodeInfo(core)
  const asked: InviteOptions = { ttlMs: checkInteger(ttlMs, 'options.ttlMs', 1_000, LONGEST_INVITE_MS) }
  try {
    return await core.binding.nodeInvite(core.handle, JSON.stringify(asked))
  } catch (cause) {
    throw errorOfRejection(cause, 'an invitation')
  }
}

/** What asks about an address has in common. */
function addressed(core: Core, address: string, options: { timeoutMs?: number }): ResolveOptions & PingOptions {
  checkFields(checkRecord(options, 'options'), TIMEOUT_FIELDS, 'options')
  checkGlobalAddress(address, 'address')
  const { timeoutMs = DEFAULT_TIMEOUT_MS } = options
  nodeInfo(core)
  return { address, timeoutMs: checkInteger(timeoutMs, 'options.timeoutMs', 1, LONGEST_TIMEOUT_MS) }
}

export async function resolveAddress(
  core: Core,
  address: string,
  options: { timeoutMs?: number },
): Promise<ResolutionInfo> {
  const asked = addressed(core, address, options)
  try {
    return JSON.parse(await core.binding.nodeResolve(core.handle, JSON.stringify(asked))) as ResolutionInfo
  } catch (cause) {
    throw errorOfRejection(cause, address)
  }
}

export async function pingNode(core: Core, address: string, options: { timeoutMs?: number }): Promise<PingInfo> {
  const asked = addressed(core, address, options)
  try {
    return JSON.parse(await core.binding.nodePing(core.handle, JSON.stringify(asked))) as PingInfo
  } catch (cause) {
    throw errorOfRejection(cause, address)
  }
}

export function peers(core: Core): PeerInfo[] {
  const text = core.binding.nodePeers(core.handle)
  return text === '' ? [] : (JSON.parse(text) as PeerInfo[])
}

/** Says goodbye; a node that is gone already has nothing to say. */
export async function closeNode(core: Core, graceMs: number): Promise<LinkmeshError | undefined> {
  if (core.binding.nodeInfo(core.handle) === '') return undefined
  try {
    await core.binding.nodeClose(core.handle, graceMs)
    return undefined
  } catch (cause) {
    return errorOfRejection(cause, 'the node')
  }
}
