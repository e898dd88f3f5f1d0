/** Entry of a worker thread of `linkmesh up`: joins the mesh and serves the instances it was given. */
import { parentPort, workerData } from 'node:worker_threads'
import { Mesh } from '../../index.js'
import type { InstanceSpec } from './instance-spec.js'
import { type Fault, loadHandlers, type ServedInstance, serveInstance } from './serve-instance.js'

/** What the main thread may ask. */
export type WorkerCommand =
  | { type: 'fault'; fault: Fault | undefined }
  /** Blocks the event loop for so long: a fault on purpose. */
  | { type: 'block'; ms: number }
  | { type: 'describe'; id: string; version: string | undefined; tags: string[] }
  | { type: 'leave'; id: string }

/** What it is told. */
export interface WorkerAnswer {
  type: 'left'
  id: string
}

async function main(): Promise<void> {
  const { linkmesh, specs } = workerData as { linkmesh: { name: string; index: number }; specs: InstanceSpec[][] }
  const mesh = await Mesh.attach({ name: linkmesh.name })
  const own = specs[linkmesh.index] ?? []
  const loaded = await Promise.all(own.map(async (spec) => ({ spec, handlers: await loadHandlers(spec) })))
  // All at once: a service that is there has all of its handlers.
  const served = loaded.map(({ spec, handlers }) => serveInstance(mesh, spec, handlers))
  parentPort?.on('message', (command: WorkerCommand) => void obey(command, served))
  // The port is for commands only: what keeps this thread alive is that it serves.
  parentPort?.unref()
}

async function obey(command: WorkerCommand, served: ServedInstance[]): Promise<void> {
  switch (command.type) {
    case 'fault':
      for (const instance of served) instance.fault = command.fault
      return
    case 'block': {
      const until = performance.now() + command.ms
      while (performance.now() < until);
      return
    }
    case 'describe':
      served.find(({ id }) => id === command.id)?.describe(command.version, command.tags)
      return
    case 'leave': {
      const at = served.findIndex(({ id }) => id === command.id)
      const [leaving] = at < 0 ? [] : served.splice(at, 1)
      await leaving?.leave()
      parentPort?.postMessage({ type: 'left', id: command.id } satisfies WorkerAnswer)
    }
  }
}

// A failure ends the thread, and startWorkers hands its message on.
void main()
