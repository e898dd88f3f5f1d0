/** The mesh, its registry and its router, on the fallback. */
import { type Binding, Status } from '../contract.js'
import { type Edge, Failure } from './edge.js'

type MeshFunctions = Omit<
  Binding,
  | 'info'
  | 'lastError'
  | 'scratch'
  | 'selfTestPanic'
  | 'hashKey'
  | Extract<
      keyof Binding,
      `idTable${string}` | `radix${string}` | `ring${string}` | `lane${string}` | `inbox${string}` | `blob${string}`
    >
  | 'tableClose'
  | 'onWake'
>

export function meshFunctions(edge: Edge, _scratch: Uint32Array): MeshFunctions {
  const number = () =>
    edge.refuse(new Failure(Status.NativeRequired, 'a mesh needs the native addon in this build', 'backend'))
  const text = () => {
    number()
    return ''
  }
  return {
    meshOpen: number,
    meshAttach: number,
    meshClose: number,
    meshInfo: text,
    meshNow: number,
    meshAdvance: number,
    views: () => ({ header: new Uint32Array(4), instances: new Uint32Array(0) }),
    serviceDefine: number,
    serviceFind: number,
    serviceRemove: number,
    serviceInfo: text,
    serviceList: text,
    instanceAdd: number,
    instanceUpdate: number,
    instanceRemove: number,
    instanceRenew: number,
    instanceInfo: text,
    connectionOpen: number,
    connectionUpdate: number,
    connectionClose: number,
    connectionList: text,
    discover: text,
    eventsSince: text,
    pick: number,
    complete: number,
    wait: number,
    waitCancel: number,
    grants: () => 0,
    retry: number,
    explain: text,
    metricOpen: number,
    metricRecord: number,
    metricsRender: () => Promise.resolve(''),
    threads: text,
  }
}
