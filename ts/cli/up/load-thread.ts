/** The load generator as the main thread sees it: start, stop, what it reports. */
import { Worker } from 'node:worker_threads'
import type { LatencySummary } from '../../metrics/latency-histogram.js'
import type { LoadCommand, LoadMessage, LoadOptions, LoadReport } from '../load/messages.js'

export class LoadThread {
  /** The run so far, and the latencies of the last whole second. */
  latest: { total: LoadReport; second: LatencySummary } | undefined
  /** Requests the run will send; null when it has no end. */
  planned: number | null = null
  private readonly worker: Worker
  private readonly finished: Promise<LoadReport>

  private constructor(options: LoadOptions, onReady: () => void, onFail: (error: Error) => void) {
    this.worker = new Worker(new URL('../load/worker.js', import.meta.url), { workerData: options })
    this.finished = new Promise((resolve, reject) => {
      const fail = (error: Error) => {
        reject(error)
        onFail(error)
      }
      this.worker.on('message', (message: LoadMessage) => {
        if (message.type === 'ready') {
          this.planned = message.planned
          onReady()
        } else if (message.type === 'second') this.latest = message
        else if (message.type === 'done') resolve(message.total)
        else fail(new Error(`The load generator: ${message.message}`))
      })
      this.worker.on('error', fail)
      this.worker.on('exit', () => fail(new Error('The load generator ended before its run')))
    })
    // Whoever started the thread learns of a failure by `start` or by `done`.
    this.finished.catch(() => {})
  }

  /** Loads the profile and the log. Rejects when they cannot be used. */
  static prepare(options: LoadOptions): Promise<LoadThread> {
    return new Promise((resolve, reject) => {
      const thread: LoadThread = new LoadThread(options, () => resolve(thread), reject)
    })
  }

  /** Begins to send; resolves when the last reply is in. */
  start(): Promise<LoadReport> {
    this.tell({ type: 'start' })
    return this.finished
  }

  /** Sends no more; {@link start} still resolves, after the replies under way. */
  stop(): void {
    this.tell({ type: 'stop' })
  }

  close(): Promise<number> {
    return this.worker.terminate()
  }

  private tell(command: LoadCommand): void {
    this.worker.postMessage(command)
  }
}
