/** The local socket's end in the process that is administered. */
import { chmodSync, rmSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { loadBinding } from '../binding/index.js'
import { LinkmeshError } from '../errors.js'
import type { Mesh } from '../mesh.js'
import { Conversation } from './conversation.js'
import { type Hello, PROTOCOL } from './protocol.js'
import { socketPath } from './socket-path.js'

/** Clients at once; one more is told so and closed. */
const CLIENTS = 16

export class AdminServer {
  readonly path: string
  readonly #server: Server
  readonly #clients = new Set<Socket>()

  private constructor(path: string, server: Server) {
    this.path = path
    this.#server = server
  }

  /** Rejects with `LM_DENIED` when the folder is not safe, or with what the operating system says. */
  static async open(mesh: Mesh): Promise<AdminServer> {
    const path = socketPath(mesh.name)
    // A process of the same number that died left it: this one is that number now.
    if (process.platform !== 'win32') rmSync(path, { force: true })
    const server = createServer()
    const opened = new AdminServer(path, server)
    server.on('connection', (socket) => opened.#admit(mesh, socket))
    await new Promise<void>((resolve, reject) => {
      server.once('error', (cause) => {
        reject(
          new LinkmeshError('LM_ADDRESS_UNAVAILABLE', `the socket ${path} cannot be opened: ${cause.message}`, {
            cause,
          }),
        )
      })
      server.listen({ path }, resolve)
    })
    server.unref()
    if (process.platform !== 'win32') chmodSync(path, 0o600)
    return opened
  }

  #admit(mesh: Mesh, socket: Socket): void {
    // Neither a client nor its loss is a reason to stay or to end.
    socket.unref()
    socket.on('error', () => socket.destroy())
    if (this.#clients.size >= CLIENTS) {
      const error = { code: 'LM_LIMIT_EXCEEDED', message: 'too many clients of this socket', limit: CLIENTS }
      socket.end(`${JSON.stringify({ id: 0, error })}\n`)
      return
    }
    this.#clients.add(socket)
    socket.once('close', () => this.#clients.delete(socket))
    const { data } = mesh
    const hello: Hello = {
      linkmesh: loadBinding().binding.info().version,
      protocol: PROTOCOL,
      mesh: mesh.name,
      pid: process.pid,
      ...(data === undefined ? {} : { data }),
    }
    socket.write(`${JSON.stringify(hello)}\n`)
    new Conversation(mesh, socket)
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    for (const socket of this.#clients) socket.destroy()
    await closed
  }
}
