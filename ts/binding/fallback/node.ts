/** What has no meaning without the engine: other nodes, and memory shared with them. */
import { type ErrorData, Status } from '../contract.js'
import type { IdentityBinding } from '../contract-identity.js'
import type { MemoryBinding } from '../contract-memory.js'
import type { NodeBinding } from '../contract-node.js'
import type { ReplicaBinding } from '../contract-replicas.js'
import { type Edge, Failure } from './edge.js'

/** Every function answers {@link Status.NativeRequired}; what answers with a promise rejects with the same data. */
export function nodeFunctions(edge: Edge): NodeBinding & MemoryBinding & ReplicaBinding & IdentityBinding {
  const failure = (what: string) =>
    new Failure(
      Status.NativeRequired,
      `${what} needs the native addon: install the platform package (@linkmesh/<platform>-<arch>-<abi>), or build it with \`npm run build\``,
      'backend',
    )
  const refuse = (what: string) => edge.refuse(failure(what))
  const reject = async (what: string): Promise<never> => {
    const { status, message, field } = failure(what)
    const data: ErrorData = { status, message, ...(field === undefined ? {} : { field }) }
    throw new Error(JSON.stringify(data))
  }
  const node = () => refuse('a node')
  const memory = () => refuse('remote memory')
  const nodeLater = () => reject('a node')
  const memoryLater = () => reject('remote memory')
  return {
    nodeOpen: nodeLater,
    nodeInfo: () => '',
    nodeInvite: nodeLater,
    nodeConnect: nodeLater,
    nodeResolve: nodeLater,
    nodePing: nodeLater,
    nodePeers: () => '[]',
    nodeOfThread: () => '',
    nodeClose: node,
    regionExport: memory,
    regionMemory: () => {
      memory()
      return null
    },
    regionInfo: () => {
      memory()
      return ''
    },
    regionGrow: memory,
    regionSync: memoryLater,
    regionRevoke: memory,
    grantIssue: memoryLater,
    grantDelegate: memoryLater,
    grantInfo: () => '',
    grantRevoke: memory,
    remoteImport: memoryLater,
    remoteInfo: () => '',
    remoteClose: memory,
    memoryPage: () => {
      memory()
      return null
    },
    memoryFlush: memory,
    memoryCancel: memory,
    memoryReadSync: memory,
    memoryCasSync: memory,
    memoryAddSync: memory,
    memoryBulkRead: memory,
    memoryBulkWrite: memory,
    memoryTake: memory,
    replicaAccept: memory,
    replicaCreate: memoryLater,
    replicaEnd: memory,
    replicaInfo: () => '',
    replicaImport: memoryLater,
    identityRun: () => reject('an identity'),
  }
}
