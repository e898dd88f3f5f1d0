/** A thread that serves what the rivals' handler does, as the service `there`. */
import { parentPort, workerData } from 'node:worker_threads'
import { built } from '../native.mjs'
import { handler } from '../rivals.mjs'

const { Mesh } = await built('index.js')
const mesh = await Mesh.attach({ name: workerData.mesh })
mesh.service('there', handler)
parentPort.postMessage('ready')
