/** `linkmesh join`: makes this folder a node of a network, by a one-time token. */
import { ask, describeIdentity, type IdentityOptions, print } from './identity.js'

export async function join(
  address: string,
  token: string,
  options: IdentityOptions & { name: string; timeout: number },
): Promise<void> {
  const { name, timeout: timeoutMs } = options
  const info = await ask(options, { command: 'join', name, address, token, timeoutMs })
  print(options, info, [
    ...describeIdentity(info),
    '',
    `Joined. Open a mesh on this folder: Mesh.open({ listen: 'quic://0.0.0.0:0', data: ${JSON.stringify(options.data)} })`,
  ])
}
