/** @fastify/http-proxy in front of the upstream, logging off. */
import { rival } from '../native.mjs'

const app = rival('fastify')()
app.register(rival('@fastify/http-proxy'), { upstream: process.env.UPSTREAM })
await app.listen({ port: Number(process.env.PORT), host: '127.0.0.1' })
process.send('ready')
