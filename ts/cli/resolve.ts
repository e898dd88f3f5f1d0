/** `linkmesh resolve`: where a global address is. */
import type { ResolutionInfo } from '../binding/contract-node.js'
import { print, when } from './identity.js'
import { type AddressOptions, withNode } from './node.js'

export async function resolve(address: string, options: AddressOptions): Promise<void> {
  const info = await withNode(address, options, (node) => node.resolve())
  print(options, info, describe(info))
}

function describe(info: ResolutionInfo): string[] {
  const how = {
    own: 'this node',
    connected: 'connected',
    cache: 'known from before',
    peer: `told by ${info.from ?? 'a peer'}`,
  }[info.source]
  return [
    `address  ${info.address}`,
    `node     ${info.nodeId}  (${how})`,
    ...info.endpoints.map(({ kind, address, relay }) => `${kind.padEnd(7)}  ${address}${relay ? ` by ${relay}` : ''}`),
    ...(info.endpoints.length === 0 ? ['it listens nowhere: it is there as long as it is connected'] : []),
    ...(info.sequence === undefined || info.expires === undefined
      ? []
      : [`record   ${info.sequence}, until ${when(info.expires)}`]),
  ]
}
