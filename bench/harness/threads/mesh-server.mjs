/** A thread that serves `echo` through the mesh. */
import { parentPort, workerData } from 'node:worker_threads'
import { built } from '../native.mjs'
import { echo } from './echo.mjs'

const { Mesh } = await built('index.js')
const mesh = await Mesh.attach({ name: workerData.mesh })
mesh.service('echo', echo)
parentPort.postMessage('ready')
