/** A thread that serves `echo` and blocks its event loop when told, saying when on the mesh's clock. */
import { parentPort, workerData } from 'node:worker_threads'
import { built } from '../native.mjs'

const { Mesh } = await built('index.js')
const mesh = await Mesh.attach({ name: workerData.mesh })
mesh.service('echo', (body) => body)
parentPort.on('message', (ms) => {
  const beganUs = mesh.now()
  while (mesh.now() - beganUs < ms * 1_000);
  parentPort.postMessage({ beganUs, endedUs: mesh.now() })
})
parentPort.postMessage(mesh.threadId)
