/** The local socket's other end: finding the meshes of this user and talking to one. */
import { rmSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { LinkmeshError } from '../errors.js'
import { type Answer, type Hello, Lines, MAX_ANSWER_BYTES, PROTOCOL } from './protocol.js'
import { type SocketName, socketNames } from './socket-path.js'

/** A process of this machine answers at once or not at all. */
const HELLO_MS = 2_000
const FOLLOWED = 4_096

/** A mesh that can be administered. */
export interface AdminPeer extends Hello {
  path: string
}

interface Waiting {
  resolve(value: unknown): void
  reject(error: unknown): void
  /** Of a question with many answers. */
  onItem?: (item: unknown) => void
}

/** The meshes of this user that listen, by name and process. Sockets that nobody listens on any more are removed. */
export async function findAdmins(): Promise<AdminPeer[]> {
  const found = await Promise.all(socketNames().map((name) => greet(name)))
  return found
    .filter((peer) => peer !== undefined)
    .sort((a, b) => (a.mesh === b.mesh ? a.pid - b.pid : a.mesh < b.mesh ? -1 : 1))
}

async function greet({ path }: SocketName): Promise<AdminPeer | undefined> {
  try {
    const session = await connectAdmin(path)
    session.close()
    return { ...session.hello, path }
  } catch (error) {
    const { cause } = error as { cause?: NodeJS.ErrnoException }
    if (cause?.code === 'ECONNREFUSED' && process.platform !== 'win32') rmSync(path, { force: true })
    return undefined
  }
}

/** Connects to a socket. `LM_NOT_FOUND` when nobody listens there, `LM_DENIED` when it is somebody else's. */
export async function connectAdmin(path: string): Promise<AdminSession> {
  const socket = connect({ path })
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve)
      socket.once('error', reject)
    })
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    const denied = code === 'EACCES' || code === 'EPERM'
    const words = denied ? 'belongs to another user' : 'has nobody listening'
    throw new LinkmeshError(denied ? 'LM_DENIED' : 'LM_NOT_FOUND', `the socket ${path} ${words}`, { cause })
  }
  return AdminSession.greeted(socket)
}

export class AdminSession {
  readonly hello: Hello
  readonly #socket: Socket
  readonly #waiting = new Map<number, Waiting>()
  #asked = 0

  private constructor(socket: Socket, hello: Hello) {
    this.#socket = socket
    this.hello = hello
  }

  /** @internal Waits for the first line. */
  static greeted(socket: Socket): Promise<AdminSession> {
    return new Promise((resolve, reject) => {
      const lines = new Lines(MAX_ANSWER_BYTES)
      let session: AdminSession | undefined
      const fail = (error: unknown): void => {
        clearTimeout(timer)
        socket.destroy()
        reject(error)
        if (session !== undefined) session.#lost(error)
      }
      const timer = setTimeout(
        () =>
          fail(new LinkmeshError('LM_DEADLINE_EXCEEDED', 'the process does not answer: its event loop may be blocked')),
        HELLO_MS,
      )
      socket.on('error', fail)
      socket.once('close', () => fail(new LinkmeshError('LM_CLOSED', 'the process closed the connection')))
      socket.on('data', (chunk) => {
        const read = lines.push(chunk as Buffer)
        if (read === undefined) {
          fail(new LinkmeshError('LM_LIMIT_EXCEEDED', 'the answer is too long', { limit: MAX_ANSWER_BYTES }))
          return
        }
        for (const line of read) {
          try {
            if (session !== undefined) {
              session.#took(JSON.parse(line) as Answer)
              continue
            }
            clearTimeout(timer)
            session = new AdminSession(socket, welcome(line))
            resolve(session)
          } catch (error) {
            fail(error)
            return
          }
        }
      })
    })
  }

  /** Asks for one thing. Rejects with the error of the other side. */
  ask<T = unknown>(op: string, args: object = {}, by?: string): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#write({ resolve: resolve as (value: unknown) => void, reject }, { op, args, by })
    })
  }

  /**
   * Asks for many; leaving the loop ends it there, too. Who stops reading stops the whole session after a few thousand:
   * follow on a session of its own.
   */
  async *follow<T = unknown>(op: string, args: object = {}): AsyncGenerator<T, void, undefined> {
    const items: T[] = []
    let wake: (() => void) | undefined
    let end: { error?: unknown } | undefined
    const ended = (how: { error?: unknown }): void => {
      end = how
      wake?.()
    }
    const id = this.#write(
      {
        resolve: () => ended({}),
        reject: (error) => ended({ error }),
        onItem: (item) => {
          // What nobody reads waits in the socket, not here.
          if (items.push(item as T) >= FOLLOWED) this.#socket.pause()
          wake?.()
        },
      },
      { op, args },
    )
    try {
      for (;;) {
        while (items.length > 0) yield items.shift() as T
        if (this.#socket.isPaused()) this.#socket.resume()
        if (end !== undefined) {
          if (end.error !== undefined) throw end.error
          return
        }
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
    } finally {
      if (this.#waiting.delete(id) && !this.#socket.destroyed)
        this.#socket.write(`${JSON.stringify({ id, op: 'cancel' })}\n`)
    }
  }

  /** Ends everything that is followed. */
  cancelAll(): void {
    for (const [id, { onItem }] of this.#waiting) {
      if (onItem !== undefined && !this.#socket.destroyed)
        this.#socket.write(`${JSON.stringify({ id, op: 'cancel' })}\n`)
    }
  }

  close(): void {
    this.#socket.destroy()
  }

  #write(waiting: Waiting, ask: { op: string; args: object; by?: string | undefined }): number {
    const id = ++this.#asked
    if (this.#socket.destroyed) {
      waiting.reject(new LinkmeshError('LM_CLOSED', 'the connection is closed'))
      return id
    }
    this.#waiting.set(id, waiting)
    this.#socket.write(`${JSON.stringify({ id, ...ask })}\n`)
    return id
  }

  #took({ id, result, item, end, error }: Answer): void {
    const waiting = this.#waiting.get(id)
    if (error !== undefined) {
      const { code, message, field, limit } = error
      const made = new LinkmeshError(code, message, { field, limit })
      // Number 0 is about the connection as a whole.
      if (id === 0) this.#lost(made)
      this.#waiting.delete(id)
      waiting?.reject(made)
    } else if (item !== undefined) {
      waiting?.onItem?.(item)
    } else {
      this.#waiting.delete(id)
      waiting?.resolve(end === true ? undefined : result)
    }
  }

  #lost(error: unknown): void {
    const waiting = [...this.#waiting.values()]
    this.#waiting.clear()
    for (const one of waiting) one.reject(error)
  }
}

function welcome(line: string): Hello {
  const hello = JSON.parse(line) as Partial<Hello> & { error?: { code: 'LM_LIMIT_EXCEEDED'; message: string } }
  if (hello.error !== undefined) throw new LinkmeshError(hello.error.code, hello.error.message)
  if (hello.protocol !== PROTOCOL)
    throw new LinkmeshError(
      'LM_CONFLICT',
      `process ${hello.pid} runs linkmesh ${hello.linkmesh}, whose socket speaks version ${hello.protocol}; this is ${PROTOCOL}`,
    )
  return hello as Hello
}
