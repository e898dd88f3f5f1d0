/** A thread that answers on a message port: the best that `postMessage` does without a library. */
import { parentPort, workerData } from 'node:worker_threads'
import { echo } from './echo.mjs'

const { port } = workerData
port.on('message', ([id, body]) => port.postMessage([id, echo(body)]))
parentPort.postMessage('ready')
