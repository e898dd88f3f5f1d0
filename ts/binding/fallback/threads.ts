/** What has no meaning on one thread: lanes, and bodies handed from thread to thread. */
import { type Binding, Status } from '../contract.js'
import { type Edge, Failure } from './edge.js'

type ThreadFunctions = Pick<Binding, 'laneOpen' | 'laneMemory' | 'laneCommit' | 'laneRelease' | 'blobPut' | 'blobTake'>

/** Every function answers {@link Status.NativeRequired}; `lastError` says what to install. */
export function threadFunctions(edge: Edge): ThreadFunctions {
  const refuse = (what: string) =>
    edge.refuse(
      new Failure(
        Status.NativeRequired,
        `${what} need the native addon: install the platform package (@linkmesh/<platform>-<arch>-<abi>), or build it with \`npm run build\``,
        'backend',
      ),
    )
  const lanes = () => refuse('lanes between threads')
  const bodies = () => refuse('bodies handed between threads')
  return {
    laneOpen: lanes,
    laneMemory: () => {
      lanes()
      return null
    },
    laneCommit: lanes,
    laneRelease: lanes,
    blobPut: bodies,
    blobTake: () => {
      bodies()
      return null
    },
  }
}
