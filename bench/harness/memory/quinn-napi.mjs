/**
 * quinn on tokio behind Node-API, a promise for each read and write: the parts of `@chainsafe/libp2p-quic` below libp2p.
 * They are no entry points of that package, so they are taken by their place in it.
 */
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const modules = join(dirname(dirname(dirname(fileURLToPath(import.meta.url)))), 'node_modules')
const part = (path) => import(pathToFileURL(join(modules, path)).href)

export async function quinnThroughNapi() {
  const quinn = await part('@chainsafe/libp2p-quic/dist/src/napi.js')
  const { generateKeyPair, privateKeyToProtobuf } = await part('@libp2p/crypto/dist/src/keys/index.js')
  const configuration = async () =>
    new quinn.QuinnConfig({
      privateKeyProto: privateKeyToProtobuf(await generateKeyPair('Ed25519')),
      handshakeTimeout: 5_000,
      maxIdleTimeout: 600_000,
      keepAliveInterval: 5_000,
      maxConcurrentStreamLimit: 256,
      maxStreamData: 10_000_000,
      maxConnectionData: 15_000_000,
      receiveBufferSize: 500_000,
      sendBufferSize: 500_000,
    })
  return { ...quinn, configuration }
}
