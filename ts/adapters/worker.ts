/**
 * `linkmesh/workers`: worker threads that serve.
 *
 * A worker's file attaches by `Mesh.attach()` and registers its services. The threads are unref'd: they serve while the
 * main thread has something to do, and an idle main thread may exit.
 */
import { Worker, type WorkerOptions } from 'node:worker_threads'
import { errorOf, LinkmeshError, NATIVE_HINT, TimeoutError } from '../errors.js'
import { checkFields, checkInteger, checkRecord, checkTimeout, invalid, shown } from '../mesh/checks.js'
import type { Mesh } from '../mesh.js'

export interface StartWorkersOptions {
  /** The module that each worker runs: a path or a `file:` URL. */
  file: string | URL
  /** How many; 1 to 1,024, default 1. */
  count?: number
  /** Handed to each as `workerData`, together with `linkmesh: { name, index }`. */
  workerData?: Record<string, unknown>
  /** A worker counts as ready when it serves this many services; default 1. */
  services?: number
  /** How long `ready` waits, milliseconds; default 30,000. */
  timeoutMs?: number
  /** Starts a worker again that ended by itself, at most so many times a minute each; default 0. */
  restarts?: number
  /** Of `node:worker_threads`: `resourceLimits`, `env`, `execArgv`, `argv`, `name`. */
  options?: Omit<WorkerOptions, 'workerData' | 'eval'>
}

/** One of the threads. */
export interface WorkerStatus {
  index: number
  /** Node's thread id; -1 when it has ended. */
  threadId: number
  alive: boolean
  restarts: number
}

export interface Workers extends AsyncDisposable {
  /** Resolves when every worker serves; rejects when one ends before that, or the time is up. */
  readonly ready: Promise<void>
  status(): WorkerStatus[]
  /** Ends one worker now, in the middle of whatever it does; it is not restarted. Resolves when it is gone. */
  terminate(index?: number): Promise<void>
  /** Starts a worker that was ended again. */
  restart(index: number): Promise<void>
  /** The thread itself: messages, errors, heap. */
  worker(index: number): Worker
}

const FIELDS = new Set(['file', 'count', 'workerData', 'services', 'timeoutMs', 'restarts', 'options'])
const MINUTE_MS = 60_000
const LOOK_MS = 5

interface Place {
  worker: Worker
  alive: boolean
  /** Ended on purpose. */
  stopped: boolean
  restarts: number
  restartedAtMs: number[]
  failure: unknown
}

/** Starts worker threads that join `mesh`. `LM_NATIVE_REQUIRED` on the fallback backend, which lives in one thread. */
export function startWorkers(mesh: Mesh, options: StartWorkersOptions): Workers {
  checkFields(checkRecord(options, 'options'), FIELDS, 'options')
  const { file, workerData = {}, options: own = {} } = options
  if (typeof file !== 'string' && !(file instanceof URL))
    throw invalid('options.file', `options.file must be a path or a URL, not ${shown(file)}`)
  const count = checkInteger(options.count ?? 1, 'options.count', 1, 1_024)
  const services = checkInteger(options.services ?? 1, 'options.services', 1, 10_000)
  const timeoutMs = checkTimeout(options.timeoutMs ?? 30_000, 'options.timeoutMs')
  const restarts = checkInteger(options.restarts ?? 0, 'options.restarts', 0, 1_000)
  checkRecord(workerData, 'options.workerData')
  if (!mesh.capabilities().includes('workers'))
    throw new LinkmeshError('LM_NATIVE_REQUIRED', `a mesh of several threads ${NATIVE_HINT}`)

  const places: Place[] = []
  const start = (index: number): Worker => {
    const worker = new Worker(file, { ...own, workerData: { ...workerData, linkmesh: { name: mesh.name, index } } })
    worker.unref()
    worker.on('error', (error) => {
      const place = places[index]
      if (place !== undefined) place.failure = error
    })
    worker.on('exit', () => {
      const place = places[index]
      if (place === undefined || place.worker !== worker) return
      place.alive = false
      if (!place.stopped && !mesh.closed && mayRestart(place, restarts)) revive(index)
    })
    return worker
  }
  const revive = (index: number): void => {
    const place = places[index] as Place
    place.stopped = false
    place.failure = undefined
    place.worker = start(index)
    place.alive = true
    place.restarts++
    place.restartedAtMs.push(Date.now())
  }
  for (let index = 0; index < count; index++) {
    places.push({
      worker: start(index),
      alive: true,
      stopped: false,
      restarts: 0,
      restartedAtMs: [],
      failure: undefined,
    })
  }
  const place = (index: number): Place => places[checkInteger(index, 'index', 0, count - 1)] as Place

  const serving = (): number => {
    const perThread = new Map<number, number>()
    for (const service of mesh.services()) {
      for (const { thread } of service.instances)
        if (thread !== mesh.threadId) perThread.set(thread, (perThread.get(thread) ?? 0) + 1)
    }
    return [...perThread.values()].filter((found) => found >= services).length
  }
  const before = serving()
  const served = async (wanted: () => number, watched: () => Place[]): Promise<void> => {
    const until = Date.now() + timeoutMs
    for (;;) {
      if (mesh.closed) throw errorOf('LM_CLOSED', 'the mesh was closed while its workers started')
      const fallen = watched().find((one) => !one.alive && !one.stopped)
      if (fallen !== undefined) {
        throw new LinkmeshError(
          'LM_THREAD_ENDED',
          `a worker of ${String(file)} ended before it served${fallen.failure instanceof Error ? `: ${fallen.failure.message}` : ''}`,
          { cause: fallen.failure },
        )
      }
      if (serving() >= wanted()) return
      if (Date.now() >= until)
        throw new TimeoutError(
          `workers of ${String(file)} did not serve ${services} services each within ${timeoutMs} ms`,
        )
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
    }
  }
  const ready = served(
    () => before + places.filter((one) => !one.stopped).length,
    () => places,
  )
  // Whoever does not await it learns of a failure by the requests that find no instance.
  ready.catch(() => {})

  const terminate = async (index?: number): Promise<void> => {
    const chosen = index === undefined ? places : [place(index)]
    await Promise.all(
      chosen.map(async (one) => {
        one.stopped = true
        await one.worker.terminate()
      }),
    )
  }
  return {
    ready,
    status: () =>
      places.map((one, index) => ({
        index,
        threadId: one.alive ? one.worker.threadId : -1,
        alive: one.alive,
        restarts: one.restarts,
      })),
    terminate,
    async restart(index) {
      const one = place(index)
      if (one.alive) await terminate(index)
      const target = serving() + 1
      revive(index)
      await served(
        () => target,
        () => [one],
      )
    },
    worker: (index) => place(index).worker,
    [Symbol.asyncDispose]: () => terminate(),
  }
}

function mayRestart(place: Place, perMinute: number): boolean {
  const since = Date.now() - MINUTE_MS
  place.restartedAtMs = place.restartedAtMs.filter((at) => at > since)
  return place.restartedAtMs.length < perMinute
}
