/** Node's own `http` server, answering by itself: what no gateway can be faster than, and the upstream of the proxies. */
import { createServer } from 'node:http'
import orders from './orders.mjs'

const server = createServer((request, response) => {
  const body = JSON.stringify(orders.get({ id: request.url.slice('/orders/'.length) }))
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }).end(body)
})
server.keepAliveTimeout = 65_000
server.listen(Number(process.env.PORT), '127.0.0.1', () => process.send('ready'))
