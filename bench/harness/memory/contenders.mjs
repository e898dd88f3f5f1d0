/**
 * The calling side of each contender: what it does once, many at a time, and how much processor time both its processes
 * have used. Every answer is compared with what was stored or sent.
 */
import { fork, spawn, spawnSync } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { connect } from 'node:net'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { rival } from '../native.mjs'
import { quinnThroughNapi } from './quinn-napi.mjs'

const SERVER = fileURLToPath(new URL('./server.mjs', import.meta.url))
export const BODY_BYTES = 64
export const LARGE_BYTES = 1 << 20

/** A body that says which one it is, and the check of its echo. */
const body = Buffer.alloc(BODY_BYTES, 'linkmesh')
let counter = 0
function next() {
  body.writeUInt32LE(counter++ >>> 0)
  return body
}
function same(bytes, wanted) {
  if (bytes.length !== wanted.length || bytes.readUInt32LE() !== wanted.readUInt32LE())
    throw new Error('an answer to something else')
}

/** The other process of a contender. */
export async function other(kind, options = {}) {
  const child = fork(SERVER, [kind, JSON.stringify(options)], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  const [{ address }] = await Promise.race([
    once(child, 'message'),
    once(child, 'exit').then(([code]) => {
      throw new Error(`the server of ${kind} ended with ${code}`)
    }),
  ])
  const ask = async (message) => {
    child.send(message)
    return (await once(child, 'message'))[0]
  }
  return {
    address,
    ask: async (message) => (await ask(message)).answer,
    pid: child.pid,
    /** Microseconds of processor time. */
    cpu: async () => (await ask('cpu')).cpu,
    close: () => child.disconnect(),
  }
}

/** Processor time of this process and another one, microseconds. */
export function cpuOfBoth(server) {
  return async () => {
    const { user, system } = process.cpuUsage()
    return user + system + (await server.cpu())
  }
}

/** Bytes come back in order, in pieces of any size. */
class Stream {
  #want = 0
  #got = []
  #length = 0
  #resolve

  read(bytes) {
    this.#want = bytes
    return new Promise((resolve) => {
      this.#resolve = resolve
      this.#settle()
    })
  }

  feed(bytes) {
    this.#got.push(bytes)
    this.#length += bytes.length
    this.#settle()
  }

  #settle() {
    if (this.#want === 0 || this.#length < this.#want) return
    const all = this.#got.length === 1 ? this.#got[0] : Buffer.concat(this.#got)
    const taken = all.subarray(0, this.#want)
    const rest = all.subarray(this.#want)
    this.#got = rest.length > 0 ? [rest] : []
    this.#length = rest.length
    this.#want = 0
    this.#resolve(taken)
  }
}

/** `node:net`, over TCP or a Unix socket. */
export async function net(path) {
  const server = await other('net', path === undefined ? {} : { path })
  const socket = connect(path === undefined ? { ...server.address, host: '127.0.0.1', noDelay: true } : server.address)
  await once(socket, 'connect')
  const stream = new Stream()
  socket.on('data', (bytes) => stream.feed(bytes))
  const large = Buffer.alloc(LARGE_BYTES, 7)
  return {
    one: async () => {
      const sent = next()
      socket.write(Buffer.from(sent))
      same(await stream.read(BODY_BYTES), sent)
    },
    /** So many written, then so many read. */
    many: async (count) => {
      const all = Buffer.alloc(BODY_BYTES * count)
      socket.write(all)
      await stream.read(all.length)
    },
    large: async () => {
      socket.write(large)
      await stream.read(LARGE_BYTES)
    },
    cpu: cpuOfBoth(server),
    close: () => {
      socket.destroy()
      server.close()
    },
  }
}

export async function dgram() {
  const server = await other('dgram')
  const socket = createSocket('udp4')
  socket.connect(server.address.port, '127.0.0.1')
  await once(socket, 'connect')
  let resolve
  socket.on('message', (bytes) => resolve(bytes))
  return {
    one: async () => {
      const sent = next()
      const answer = new Promise((settle) => {
        resolve = settle
      })
      socket.send(sent)
      same(await answer, sent)
    },
    cpu: cpuOfBoth(server),
    close: () => {
      socket.close()
      server.close()
    },
  }
}

export async function quinnNapi() {
  const server = await other('quinnNapi')
  const { Client, configuration } = await quinnThroughNapi()
  const client = new Client(await configuration(), 0)
  const connection = await client.outboundConnection('127.0.0.1', server.address.port)
  const stream = await connection.outboundStream()
  return {
    one: async () => {
      const sent = next()
      await stream.write(sent)
      same(Buffer.from(await stream.read(BODY_BYTES)), sent)
    },
    cpu: cpuOfBoth(server),
    close: async () => {
      server.close()
      connection.abort()
      await client.abort?.()
    },
  }
}

/** ioredis and a redis-server of its own, on a Unix socket's little brother: TCP, as its users have it. */
export async function redis() {
  if (spawnSync('redis-server', ['--version']).error) throw new Error('redis-server is not on the PATH')
  const port = 20_000 + (process.pid % 20_000)
  const child = spawn('redis-server', [
    '--port',
    String(port),
    '--bind',
    '127.0.0.1',
    '--save',
    '',
    '--appendonly',
    'no',
  ])
  // It would outlive a bench that is cut short.
  process.once('exit', () => child.kill())
  for await (const line of createInterface({ input: child.stdout })) if (line.includes('eady to accept')) break
  child.stdout.resume()
  const { Redis } = rival('ioredis')
  const client = new Redis({ port, host: '127.0.0.1', noDelay: true })
  await client.set('body', body)
  await client.set('counter', 0)
  await client.set('large', Buffer.alloc(LARGE_BYTES, 7))
  const wanted = Buffer.from(body)
  const check = (bytes) => same(bytes, wanted)
  return {
    one: async () => check(await client.getBuffer('body')),
    add: () => client.incr('counter'),
    /** So many promises at a time; ioredis puts them into as few writes as it can. */
    many: (count) => Promise.all(Array.from({ length: count }, () => client.getBuffer('body').then(check))),
    /** One pipeline, one promise. */
    pipelined: async (count) => {
      const pipeline = client.pipeline()
      for (let at = 0; at < count; at++) pipeline.getBuffer('body')
      for (const [error, bytes] of await pipeline.exec()) {
        if (error) throw error
        check(bytes)
      }
    },
    large: async () => {
      if ((await client.getBuffer('large')).length !== LARGE_BYTES) throw new Error('a short answer')
    },
    cpu: async () => {
      const { user, system } = process.cpuUsage()
      const text = await client.info('cpu')
      const seconds = (name) => Number(new RegExp(`${name}:([\\d.]+)`).exec(text)?.[1])
      return user + system + (seconds('used_cpu_user') + seconds('used_cpu_sys')) * 1e6
    },
    close: () => {
      client.disconnect()
      child.kill()
    },
  }
}

/** A rival in Rust, which measures itself when it is told to: `udp`, `udp-block`, `quinn`. */
export async function native(program, kind) {
  const child = spawn(program, ['drive', kind], { stdio: ['pipe', 'pipe', 'inherit'] })
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const job = async (words) => {
    child.stdin.write(`${words}\n`)
    const { value, done } = await lines.next()
    if (done) throw new Error(`${kind} ended`)
    return JSON.parse(value)
  }
  return {
    hot: (ms) => job(`hot ${ms}`),
    rate: (depth, ms) => job(`rate ${depth} ${ms}`),
    close: () => child.stdin.end(),
  }
}
