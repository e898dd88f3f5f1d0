/** The other end of the doctor's lane check: answers what it is sent. */
import { parentPort, workerData } from 'node:worker_threads'
import { Mesh } from '../index.js'

async function main(): Promise<void> {
  const mesh = await Mesh.attach({ name: (workerData as { name: string }).name })
  mesh.service('doctor.lane', (body: unknown) => body)
  parentPort?.postMessage('serving')
}

void main()
