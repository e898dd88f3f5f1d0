/** The process of the soak that serves, and is killed again and again. Every execution is in a file before it is answered. */
import { openSync, writeSync } from 'node:fs'
import { pathToFileURL } from 'node:url'

const { Mesh } = await import(pathToFileURL(`${process.env.LINKMESH_SOAK_BUILD}/index.js`).href)

/** A place in the ledger is 4 bytes: one write, whole or not there. */
let ledger

const handlers = {
  echo: (body) => body,
  reverse: (body) => Buffer.from(body).reverse(),
  count: async function* count(to) {
    for (let number = 1; number <= to; number++) yield number
  },
  execute: (id) => {
    writeSync(ledger, Uint8Array.from([id, id >>> 8, id >>> 16, id >>> 24]))
    return id
  },
  hang: (_, ctx) =>
    new Promise((_, reject) => ctx.signal.addEventListener('abort', () => reject(ctx.signal.reason), { once: true })),
}

let mesh
const commands = {
  async open({ options, file }) {
    ledger = openSync(file, 'a')
    mesh = await Mesh.open(options)
    for (const [name, handler] of Object.entries(handlers)) mesh.service(name, handler)
    return { listening: mesh.listening, token: await mesh.invite() }
  },
  sample: async () => {
    globalThis.gc()
    return { rss: process.memoryUsage.rss() }
  },
  async close() {
    await mesh.close()
    return {}
  },
}

process.on('message', async ({ id, command, ...rest }) => {
  process.send({ id, answer: await commands[command](rest) }, () => command === 'close' && process.disconnect())
})
