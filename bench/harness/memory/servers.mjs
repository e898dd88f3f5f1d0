/** What runs in the other process, by contender. Each echoes, or holds memory, at an address of this machine. */
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { built } from '../native.mjs'
import { quinnThroughNapi } from './quinn-napi.mjs'

export const serve = {
  /** Holds one region that goes over QUIC and one that can be mapped, and serves `echo`. */
  async linkmesh({ data, bytes, mtu, engineThreads }) {
    const { Mesh } = await built('index.js')
    const mesh = await Mesh.open({
      name: 'bench-memory-server',
      listen: 'quic://127.0.0.1:0',
      data,
      nodeName: 'server',
      mtu,
      engineThreads,
    })
    await mesh.memory.export('far', new SharedArrayBuffer(bytes))
    await mesh.memory.export('near', { bytes })
    mesh.service('echo', (body) => body)
    const joining = async () => ({ address: mesh.listening, token: await mesh.invite() })
    return {
      // One for a node of this host, one for a node that takes the network's way.
      address: { joining: [await joining(), await joining()] },
      ask: async ({ to }) => ({
        far: await mesh.memory.grant('far', { to, rights: 'rwa', ttlMs: 86_400_000 }),
        near: await mesh.memory.grant('near', { to, rights: 'rwa', ttlMs: 86_400_000 }),
      }),
    }
  },

  /** Reads 64 bytes each from a region of another process, batch after batch, for as long as it is told to. */
  async linkmeshReader({ data, joining }) {
    const { Mesh } = await built('index.js')
    const mesh = await Mesh.open({ name: 'bench-memory-reader', join: [joining], data, sameHost: false })
    const targets = Array.from({ length: 256 }, () => new Uint8Array(64))
    let region
    return {
      address: { nodeId: mesh.nodeId },
      ask: async ({ grant, ms, count }) => {
        if (grant !== undefined) {
          region = await mesh.memory.import(grant)
          return {}
        }
        let operations = 0
        const began = performance.now()
        while (performance.now() - began < ms) {
          const batch = region.batch()
          for (let at = 0; at < count; at++) batch.read(64 * (at + 1), 64, targets[at])
          await batch.flush()
          operations += count
        }
        return { operations, rate: (operations * 1_000) / (performance.now() - began) }
      },
    }
  },

  async net({ path }) {
    const server = createServer({ noDelay: true }, (socket) => socket.on('data', (bytes) => socket.write(bytes)))
    server.listen(path === undefined ? { port: 0, host: '127.0.0.1' } : { path })
    await once(server, 'listening')
    return { address: path === undefined ? { port: server.address().port } : { path } }
  },

  async dgram() {
    const socket = createSocket('udp4', (bytes, from) => socket.send(bytes, from.port, from.address))
    socket.bind(0, '127.0.0.1')
    await once(socket, 'listening')
    return { address: { port: socket.address().port } }
  },

  async quinnNapi() {
    const { Server, configuration } = await quinnThroughNapi()
    const server = new Server(await configuration(), '127.0.0.1', 0)
    const accept = async () => {
      const connection = await server.inboundConnection()
      const stream = await connection.inboundStream()
      for (;;) {
        const bytes = await stream.read(1 << 16)
        if (bytes === null) return
        await stream.write(bytes)
      }
    }
    accept().catch((error) => process.stderr.write(`quinn through napi: ${error.stack}\n`))
    return { address: { port: server.port() } }
  },
}
