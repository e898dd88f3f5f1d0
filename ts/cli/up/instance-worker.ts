/** Entry of a worker thread of `linkmesh up`: joins the mesh and serves the instances it was given. */
import { parentPort, workerData } from 'node:worker_threads'
import { Mesh } from '../../index.js'
import type { InstanceSpec } from './instance-spec.js'
import { loadHandlers, type ServedInstance, serveInstance } from './serve-instance.js'

/** What the main thread may ask. */
export interface WorkerCommand {
  type: 'slow'
  ms: number
}

async function main(): Promise<void> {
  const { linkmesh, specs } = workerData as { linkmesh: { name: string; index: number }; specs: InstanceSpec[][] }
  const mesh = await Mesh.attach({ name: linkmesh.name })
  const own = specs[linkmesh.index] ?? []
  const loaded = await Promise.all(own.map(async (spec) => ({ spec, handlers: await loadHandlers(spec) })))
  // All at once: a service that is there has all of its handlers.
  const served: ServedInstance[] = loaded.map(({ spec, handlers }) => serveInstance(mesh, spec, handlers))
  parentPort?.on('message', (command: WorkerCommand) => {
    for (const instance of served) instance.slowMs = command.ms
  })
  // The port is for commands only: what keeps this thread alive is that it serves.
  parentPort?.unref()
}

// A failure ends the thread, and startWorkers hands its message on.
void main()
