/**
 * Several threads of a mesh inside one thread, over lanes as small as a test wants: every frame is written, committed,
 * read and released by the product's own code; only the memory and the bell are the test's.
 */
import {
  type Binding,
  INSTANCE_WORDS,
  type Outcome,
  SCRATCH_WORDS,
  Scratch,
  Status,
} from '../../ts/binding/contract.js'
import type { Call } from '../../ts/mesh/call.js'
import type { Context } from '../../ts/mesh/context.js'
import { Core } from '../../ts/mesh/core.js'
import { Dispatcher } from '../../ts/mesh/dispatcher.js'
import { HEADER_BYTES } from '../../ts/mesh/frame.js'
import { Lanes } from '../../ts/mesh/lanes.js'
import { SILENT } from '../../ts/mesh/logger.js'
import type { Mesh } from '../../ts/mesh.js'
import type { Handler } from '../../ts/service.js'

interface Lane {
  id: number
  from: number
  to: number
  memory: ArrayBuffer
  head: number
  tail: number
}

interface Instance {
  handle: number
  thread: number
}

export interface Thread {
  id: number
  dispatcher: Dispatcher
  lanes: Lanes
  request(service: string, body?: unknown, options?: object): Promise<unknown>
  call(service: string, body?: unknown, options?: object, stream?: boolean): Call
}

export class Loop {
  readonly #capacity: number
  readonly #lanes: Lane[] = []
  readonly #blobs = new Map<number, Uint8Array>()
  readonly #asleep = new Map<number, () => void>()
  readonly #wakes = new Map<number, () => void>()
  readonly #ended = new Set<number>()
  readonly #threads = new Map<number, Thread>()
  readonly instances: Instance[] = []
  readonly outcomes: Outcome[] = []
  /** Threads whose inbox is not read for now. */
  readonly deaf = new Set<number>()
  retries = 0
  #next = 0
  #ticket = 0
  #blob = 0

  constructor(capacity = 4_096) {
    this.#capacity = capacity
  }

  get blobs(): number {
    return this.#blobs.size
  }

  thread(
    id: number,
    options: Partial<{ pollWindowMs: number; maxBodyBytes: number; codec: 'json' | 'v8' }> = {},
  ): Thread {
    const core = new Core(this.#binding(id), 1, 'loop', id, SILENT)
    const dispatcher = new Dispatcher(core)
    core.mesh = {
      requestWithin: (parent: Context, service: string, body: unknown, own: object | undefined) => {
        const call = dispatcher.prepare(service, body, own, parent, false)
        dispatcher.launch(call)
        return call.promise
      },
    } as unknown as Mesh
    const lanes = new Lanes(core, dispatcher, {
      codec: 'json',
      pollWindowMs: 0.2,
      maxBodyBytes: 1 << 20,
      onNotice: () => {},
      ...options,
    })
    lanes.start()
    const call = (service: string, body?: unknown, own?: object, stream = false): Call =>
      dispatcher.prepare(service, body, own, undefined, stream)
    const thread: Thread = {
      id,
      dispatcher,
      lanes,
      call,
      request(service, body, own) {
        const made = call(service, body, own)
        dispatcher.launch(made)
        return made.promise
      },
    }
    this.#threads.set(id, thread)
    return thread
  }

  serve(thread: Thread, handler: Handler): number {
    const handle = (1 << 17) | (this.instances.length + 1)
    this.instances.push({ handle, thread: thread.id })
    thread.dispatcher.addLocal(handle, 'service', handler)
    return handle
  }

  /** The thread is gone between two instructions: its frames stay as they are. */
  end(thread: Thread): void {
    this.#ended.add(thread.id)
    thread.dispatcher.core.closed = true
    for (let index = this.instances.length - 1; index >= 0; index--) {
      if (this.instances[index]?.thread === thread.id) this.instances.splice(index, 1)
    }
    for (const other of this.#threads.values()) if (other !== thread) other.lanes.threadEnded(thread.id)
  }

  #ring(thread: number): void {
    const wake = this.#asleep.get(thread)
    if (wake === undefined) return
    this.#asleep.delete(thread)
    setImmediate(wake)
  }

  #lane(id: number): Lane {
    return this.#lanes.find((lane) => lane.id === id) as Lane
  }

  #binding(thread: number): Binding {
    const scratch = new Uint32Array(SCRATCH_WORDS)
    new Float64Array(scratch.buffer)[Scratch.PickedMsF64] = Number.NaN
    const policy = { timeoutMs: 5_000, queueLimit: 0, qos: {}, hedge: {} }
    const used: Partial<Binding> = {
      scratch: () => scratch,
      views: () => ({ header: new Uint32Array(4), instances: new Uint32Array(64 * INSTANCE_WORDS) }),
      serviceFind: (_mesh, name) => (name === 'service' ? 7 : Status.NotFound),
      serviceInfo: () => JSON.stringify({ policy, instances: [] }),
      hashKey: () => 1,
      pick: () => {
        const instance = this.instances[this.#next++ % Math.max(1, this.instances.length)]
        if (instance === undefined) return Status.NoInstance
        scratch[Scratch.Instance] = instance.handle
        scratch[Scratch.Thread] = instance.thread
        return ++this.#ticket
      },
      complete: (_mesh, _ticket, outcome) => {
        this.outcomes.push(outcome)
        return 0
      },
      completeMany: (_mesh, _tickets, count, outcome) => {
        for (let ticket = 0; ticket < count; ticket++) this.outcomes.push(outcome)
        return count
      },
      retry: () => (this.retries-- > 0 ? 0 : -1),
      grants: () => 0,
      lastError: () => '',
      laneOpen: (_mesh, to) => {
        if (this.#ended.has(to) || !this.#threads.has(to)) return Status.Closed
        const known = this.#lanes.find((lane) => lane.from === thread && lane.to === to)
        if (known !== undefined) return known.id
        const lane = {
          id: this.#lanes.length + 1,
          from: thread,
          to,
          memory: new ArrayBuffer(this.#capacity),
          head: 0,
          tail: 0,
        }
        this.#lanes.push(lane)
        return lane.id
      },
      laneMemory: (_mesh, id) => this.#lane(id).memory,
      laneCommit: (_mesh, id, tail) => {
        const lane = this.#lane(id)
        if (this.#ended.has(lane.to)) return Status.Closed
        if ((tail - lane.head) >>> 0 > this.#capacity) throw new Error('committed past the capacity')
        lane.tail = tail
        this.#ring(lane.to)
        return lane.head
      },
      laneRelease: (_mesh, id, head) => {
        const lane = this.#lane(id)
        if ((lane.tail - head) >>> 0 > (lane.tail - lane.head) >>> 0) throw new Error('released past the tail')
        // Bodies that were given back may be overwritten at once: poisoned, so that one kept as a view is found out.
        const words = new Uint32Array(lane.memory)
        for (let at = lane.head; at !== head; ) {
          const start = at & (this.#capacity - 1)
          const size = words[start >>> 2] as number
          if (size > HEADER_BYTES) new Uint8Array(lane.memory).fill(0xee, start + HEADER_BYTES, start + size)
          at = (at + size) >>> 0
        }
        lane.head = head
        return 0
      },
      inboxPoll: () => {
        if (this.deaf.has(thread)) return 0
        let count = 0
        for (const lane of this.#lanes) {
          if (lane.to !== thread || lane.head === lane.tail) continue
          scratch.set([lane.id, lane.head, lane.tail], Scratch.Lanes + count++ * 3)
        }
        return count
      },
      inboxArm: () => {
        if (!this.deaf.has(thread) && this.#lanes.some((lane) => lane.to === thread && lane.head !== lane.tail))
          return 1
        this.#asleep.set(thread, this.#wakes.get(thread) as () => void)
        return 0
      },
      onWake: (_mesh, callback) => {
        this.#wakes.set(thread, callback)
        return 0
      },
      blobPut: (_mesh, bytes) => {
        const id = ++this.#blob
        this.#blobs.set(id, Uint8Array.from(bytes))
        return id
      },
      nodeOfThread: () => '',
      blobTake: (_mesh, id) => {
        const bytes = this.#blobs.get(id) ?? null
        this.#blobs.delete(id)
        return bytes
      },
    }
    return used as Binding
  }
}
