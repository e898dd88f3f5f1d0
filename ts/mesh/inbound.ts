/** Requests that other threads sent to handlers of this one. */
import { errorOf, LinkmeshError, NoInstanceError, TimeoutError } from '../errors.js'
import { nowMs } from './clock.js'
import { Context } from './context.js'
import {
  type Dispatcher,
  isAsyncIterable,
  isThenable,
  iteratorOf,
  type LocalInstance,
  streamMisuse,
} from './dispatcher.js'
import {
  CLASS_SHIFT,
  DEADLINE_F64,
  Flag,
  FrameKind,
  type LaneMemory,
  slotOfId,
  threadOf,
  WINDOW_MASK,
  WINDOW_SHIFT,
  Word,
} from './frame.js'
import { type Extras, guaranteesOf } from './guarantees.js'
import { qosOf } from './qos.js'

/** How answers go back. */
export interface ReplyPath {
  decode(memory: LaneMemory, at: number): unknown
  /** Drops a body that is not decoded. */
  discard(memory: LaneMemory, at: number): void
  extras(memory: LaneMemory, at: number): string
  /** Sends a reply, an item or the end. An answer that cannot be encoded becomes an error frame. */
  answer(source: number, id: number, kind: number, value: unknown): void
  error(source: number, id: number, error: unknown, flags: number): void
}

class Served {
  readonly source: number
  readonly id: number
  readonly context: Context
  /** Items that the consumer has room for. */
  credits = 0
  onCredit: (() => void) | undefined = undefined

  constructor(source: number, id: number, context: Context) {
    this.source = source
    this.id = id
    this.context = context
  }
}

export class Inbound {
  readonly #dispatcher: Dispatcher
  readonly #replies: ReplyPath
  /** By source and by the slot in the caller's id: a caller has one request per slot. */
  readonly #served = new Map<number, (Served | undefined)[]>()

  constructor(dispatcher: Dispatcher, replies: ReplyPath) {
    this.#dispatcher = dispatcher
    this.#replies = replies
  }

  /** A request frame at byte `at`. Starts the handler before it returns, unless it refuses. */
  request(memory: LaneMemory, at: number, stream: boolean): void {
    const { u32, f64 } = memory
    const word = at >>> 2
    const id = u32[word + Word.Id] as number
    const source = u32[word + Word.Source] as number
    const deadline = f64[(at >>> 3) + DEADLINE_F64] as number
    const local = this.#dispatcher.local(u32[word + Word.Instance] as number)
    if (local === undefined) {
      this.#replies.discard(memory, at)
      this.#replies.error(source, id, new NoInstanceError('the instance has left its thread'), Flag.NotDelivered)
      return
    }
    if (deadline !== Number.POSITIVE_INFINITY && deadline <= nowMs()) {
      this.#replies.discard(memory, at)
      this.#replies.error(
        source,
        id,
        new TimeoutError('the deadline passed before the handler could start'),
        Flag.NotDelivered,
      )
      return
    }
    // From here on this thread has the message in its hands, whatever becomes of it.
    u32[word + Word.Kind] = (u32[word + Word.Kind] as number) | Flag.Taken
    let body: unknown
    let extras: Extras | undefined
    try {
      body = this.#replies.decode(memory, at)
      const text = this.#replies.extras(memory, at)
      if (text !== '') extras = JSON.parse(text)
    } catch (error) {
      this.#replies.error(source, id, error, 0)
      return
    }
    const attempt = u32[word + Word.Attempt] as number
    const context = new Context(
      this.#dispatcher.core.mesh,
      local.service,
      extras?.key,
      extras?.metadata,
      attempt & 0xffff,
      stream ? Number.POSITIVE_INFINITY : deadline,
      qosOf(attempt >>> CLASS_SHIFT),
    )
    if (extras !== undefined) context.guarantees = guaranteesOf(extras)
    const served = new Served(source, id, context)
    if (stream) served.credits = (attempt >>> WINDOW_SHIFT) & WINDOW_MASK
    this.#run(served, local, body, stream)
  }

  #run(served: Served, local: LocalInstance, body: unknown, stream: boolean): void {
    this.#dispatcher.active++
    local.active++
    let result: unknown
    try {
      result = this.#dispatcher.run(local, body, served.context)
    } catch (error) {
      this.#released(local)
      this.#replies.error(served.source, served.id, error, 0)
      return
    }
    if (isThenable(result) || stream) {
      this.#remember(served)
      void (stream ? this.#pump(served, local, result) : this.#settle(served, local, result as PromiseLike<unknown>))
      return
    }
    this.#released(local)
    this.#reply(served, local, result)
  }

  async #settle(served: Served, local: LocalInstance, result: PromiseLike<unknown>): Promise<void> {
    let value: unknown
    try {
      value = await result
    } catch (error) {
      this.#forget(served)
      this.#released(local)
      if (!served.context.aborted) this.#replies.error(served.source, served.id, error, 0)
      return
    }
    this.#forget(served)
    this.#released(local)
    if (!served.context.aborted) this.#reply(served, local, value)
  }

  #reply(served: Served, local: LocalInstance, value: unknown): void {
    if (isAsyncIterable(value)) {
      void value[Symbol.asyncIterator]().return?.()
      this.#replies.error(served.source, served.id, streamMisuse(local.service), 0)
      return
    }
    this.#replies.answer(served.source, served.id, FrameKind.Reply, value)
  }

  /** Sends items as fast as the consumer takes them. */
  async #pump(served: Served, local: LocalInstance, result: unknown): Promise<void> {
    const { source, id, context } = served
    try {
      const items = iteratorOf(await result)
      try {
        for (;;) {
          while (served.credits === 0 && !context.aborted) {
            await new Promise<void>((resolve) => {
              served.onCredit = resolve
            })
          }
          if (context.aborted) return
          const next = await items.next()
          if (context.aborted) return
          if (next.done === true) break
          served.credits--
          this.#replies.answer(source, id, FrameKind.Item, next.value)
        }
      } finally {
        if (context.aborted) await items.return?.()
      }
      this.#replies.answer(source, id, FrameKind.End, undefined)
    } catch (error) {
      if (!context.aborted) this.#replies.error(source, id, error, 0)
    } finally {
      this.#forget(served)
      this.#released(local)
    }
  }

  credit(source: number, id: number, credits: number): void {
    const served = this.#find(source, id)
    if (served === undefined) return
    served.credits += credits
    this.#awake(served)
  }

  cancel(source: number, id: number): void {
    const served = this.#find(source, id)
    if (served === undefined) return
    this.#forget(served)
    served.context.abort(undefined)
    this.#awake(served)
  }

  /** The caller's thread has ended, or the connection to its node: nobody waits for its answers. */
  callerEnded(thread: number): void {
    const reason = new LinkmeshError('LM_THREAD_ENDED', `thread ${thread}, which asked, has ended`)
    for (const [source, served] of this.#served) {
      if (threadOf(source) !== thread) continue
      this.#served.delete(source)
      for (const one of served) this.#stop(one, reason)
    }
  }

  /** The mesh closes. */
  stopAll(): void {
    const reason = errorOf('LM_CLOSED', 'the mesh is closed')
    for (const served of this.#served.values()) for (const one of served) this.#stop(one, reason)
    this.#served.clear()
  }

  #stop(served: Served | undefined, reason: LinkmeshError): void {
    if (served === undefined) return
    served.context.abort(reason)
    this.#awake(served)
  }

  #awake(served: Served): void {
    const { onCredit } = served
    served.onCredit = undefined
    onCredit?.()
  }

  #find(source: number, id: number): Served | undefined {
    const served = this.#served.get(source)?.[slotOfId(id)]
    return served !== undefined && served.id === id ? served : undefined
  }

  #remember(served: Served): void {
    let slots = this.#served.get(served.source)
    if (slots === undefined) {
      slots = []
      this.#served.set(served.source, slots)
    }
    slots[slotOfId(served.id)] = served
  }

  #forget(served: Served): void {
    const slots = this.#served.get(served.source)
    const slot = slotOfId(served.id)
    if (slots?.[slot] === served) slots[slot] = undefined
  }

  #released(local: LocalInstance): void {
    local.active--
    this.#dispatcher.active--
    this.#dispatcher.onQuiet?.()
  }
}
