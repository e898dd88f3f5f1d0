/**
 * The serving process of the nodes bench: the same echo over linkmesh (QUIC, and shared memory where the host has it), a Unix
 * socket, TCP and HTTP. Prints how it is reached, then serves until its input ends.
 */
import { createServer as createHttpServer } from 'node:http'
import { createServer } from 'node:net'
import { built } from './native.mjs'
import { echo } from './threads/echo.mjs'

const [data, socket] = process.argv.slice(2)
const { Mesh } = await built('index.js')
const mesh = await Mesh.open({ name: 'bench-nodes-server', listen: 'quic://127.0.0.1:0', data, deadLetters: false })
mesh.service('echo', echo)

/** Frames of a length (four bytes) and a body; several may come in one piece, or one in several. */
const framed = () =>
  createServer({ noDelay: true }, (peer) => {
    let rest = Buffer.alloc(0)
    peer.on('data', (bytes) => {
      rest = rest.length === 0 ? bytes : Buffer.concat([rest, bytes])
      const answers = []
      while (rest.length >= 4 && rest.length >= 4 + rest.readUInt32LE(0)) {
        const end = 4 + rest.readUInt32LE(0)
        const frame = Buffer.from(rest.subarray(0, end))
        // The id of the request is in front of the body that is changed.
        echo(frame.subarray(8))
        answers.push(frame)
        rest = rest.subarray(end)
      }
      if (answers.length > 0) peer.write(answers.length === 1 ? answers[0] : Buffer.concat(answers))
    })
    peer.on('error', () => {})
  })
const listen = (server, ...where) => new Promise((resolve) => server.listen(...where, () => resolve(server.address())))
const unix = framed()
await listen(unix, socket)
const tcp = await listen(framed(), 0, '127.0.0.1')
const http = await listen(
  createHttpServer({ keepAliveTimeout: 600_000 }, async (request, response) => {
    const pieces = []
    for await (const piece of request) pieces.push(piece)
    response.end(echo(Buffer.concat(pieces)))
  }),
  0,
  '127.0.0.1',
)
const tokens = [await mesh.invite(), await mesh.invite()]
process.stdout.write(`${JSON.stringify({ address: mesh.listening, tokens, tcp: tcp.port, http: http.port })}\n`)
process.stdin.resume().on('end', () => process.exit())
