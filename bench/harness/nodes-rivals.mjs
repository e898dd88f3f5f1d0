/** What is asked of another process in the nodes bench: each as a function from a body to a promise of the answer. */
import { Agent, request as httpRequest } from 'node:http'
import { connect } from 'node:net'
import { built } from './native.mjs'

/** A request to a node, over shared memory or over QUIC. */
export async function viaMesh({ name, address, token, data, sameHost }) {
  const { Mesh } = await built('index.js')
  const mesh = await Mesh.open({ name, join: { address, token }, data, sameHost, deadLetters: false })
  if (sameHost) {
    // The link comes right after the connection.
    while (mesh.peers()[0]?.via !== 'shared-memory') await new Promise(setImmediate)
  }
  return { call: (body) => mesh.request('echo', body), via: mesh.peers()[0]?.via, close: () => mesh.close() }
}

/** Frames over a socket: length, id, body. What is written in one turn goes out together. */
export async function viaSocket(...where) {
  const socket = connect(...where)
  await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject))
  socket.setNoDelay?.(true)
  const waiting = new Map()
  let rest = Buffer.alloc(0)
  let last = 0
  socket.on('data', (bytes) => {
    rest = rest.length === 0 ? bytes : Buffer.concat([rest, bytes])
    while (rest.length >= 4 && rest.length >= 4 + rest.readUInt32LE(0)) {
      const end = 4 + rest.readUInt32LE(0)
      const id = rest.readUInt32LE(4)
      const resolve = waiting.get(id)
      waiting.delete(id)
      resolve(new Uint8Array(rest.subarray(8, end)))
      rest = rest.subarray(end)
    }
  })
  let corked = false
  const call = (body) =>
    new Promise((resolve) => {
      const id = ++last >>> 0
      waiting.set(id, resolve)
      const frame = Buffer.allocUnsafe(8 + body.length)
      frame.writeUInt32LE(4 + body.length, 0)
      frame.writeUInt32LE(id, 4)
      frame.set(body, 8)
      if (!corked) {
        corked = true
        socket.cork()
        queueMicrotask(() => {
          corked = false
          socket.uncork()
        })
      }
      socket.write(frame)
    })
  return { call, close: () => socket.destroy() }
}

/** HTTP/1.1, connections kept open. */
export function viaHttp(port) {
  const agent = new Agent({ keepAlive: true, maxSockets: 256 })
  const call = (body) =>
    new Promise((resolve, reject) => {
      const asked = httpRequest(
        { port, host: '127.0.0.1', method: 'POST', agent, headers: { 'content-length': body.length } },
        (response) => {
          const pieces = []
          response.on('data', (piece) => pieces.push(piece))
          response.on('end', () => resolve(new Uint8Array(Buffer.concat(pieces))))
        },
      )
      asked.on('error', reject)
      asked.end(body)
    })
  return { call, close: () => agent.destroy() }
}
