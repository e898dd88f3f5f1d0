/**
 * Requests to and from the other threads of the process.
 *
 * Sending: frames go into the lane's memory at once; one commit per microtask publishes them. Receiving: after any frame
 * this thread looks into its inbox on every turn of the event loop for {@link LanesOptions.pollWindowMs}, then arms the
 * wake and sleeps. Not sleeping between a request and its answer is most of what makes a lane fast.
 */
import { Buffer } from 'node:buffer'
import { type Handle, type Outcome, Outcome as Outcomes, Scratch, Status } from '../binding/contract.js'
import { LinkmeshError } from '../errors.js'
import type { Call } from './call.js'
import { nowMs } from './clock.js'
import { BodyCodec, BodyKind, type CodecOption, Encoded } from './codec.js'
import type { Core } from './core.js'
import type { Dispatcher, RemotePath } from './dispatcher.js'
import { errorFromText, errorToText } from './error-data.js'
import {
  CLASS_SHIFT,
  Flag,
  FrameKind,
  farThreadOf,
  HEADER_BYTES,
  LaneMemory,
  threadOf,
  WINDOW_SHIFT,
  Word,
} from './frame.js'
import { extrasOf } from './guarantees.js'
import { Inbound, type ReplyPath } from './inbound.js'
import { Header, Outbox } from './outbox.js'
import { failureOf } from './outcomes.js'
import { RemoteItems } from './remote-items.js'
import { Slots } from './slots.js'
import { soon } from './soon.js'

export interface LanesOptions {
  codec: CodecOption
  /** How long to poll after the last frame, milliseconds. */
  pollWindowMs: number
  /** Largest encoded body. */
  maxBodyBytes: number
  /** Reads the event log: called after a wake and when the registry has changed. */
  onNotice(): void
}

/** Something else that is looked at on every turn while this thread looks into its inbox. */
export interface Poller {
  /** How many things were found. */
  poll(): number
}

interface Inbox {
  memory: LaneMemory
  /** The sending thread, from its first frame. */
  source: number
}

/** Frames after which a lane is published before the end of the turn. */
const EARLY = 32

const NOTHING = new Encoded()

export class Lanes implements RemotePath, ReplyPath {
  /** Completions of remote memory, once there are any. */
  poller: Poller | undefined = undefined
  readonly #core: Core
  readonly #dispatcher: Dispatcher
  readonly #options: LanesOptions
  readonly #codec: BodyCodec
  readonly #inbound: Inbound
  readonly #slots = new Slots<Call>('requests to other threads')
  readonly #header = new Header()
  readonly #encoded = new Encoded()
  /** By thread id, while the thread lives. */
  readonly #outboxes = new Map<number, Outbox>()
  /** The one that was used last. */
  #recent: Outbox | undefined = undefined
  /** By lane id, while its sender lives. */
  readonly #inboxes: (Inbox | undefined)[] = []
  #dirty: Outbox[] = []
  #polling = false
  /** Woken from its sleep, and has not answered since. */
  #woken = false
  #stirred = false
  #notice = false
  /** Since when a notice waits, or 0. */
  #noticedMs = 0
  #lastMs = 0
  #epoch = -1

  constructor(core: Core, dispatcher: Dispatcher, options: LanesOptions) {
    this.#core = core
    this.#dispatcher = dispatcher
    this.#options = options
    this.#codec = new BodyCodec(options.codec)
    this.#inbound = new Inbound(dispatcher, this)
    dispatcher.remote = this
  }

  /** Begins to listen. */
  start(): void {
    const status = this.#core.binding.onWake(this.#core.handle, () => this.#wake())
    // A backend of one thread has nobody who could wake it: what happens there, this thread does itself.
    if (status === Status.NativeRequired) return
    this.#core.must(status, 'onWake')
    this.#epoch = this.#core.epoch
    this.#wake()
  }

  /** Stops serving; frames that come later stay unread. */
  stop(): void {
    this.#inbound.stopAll()
  }

  /** Publishes what is written now instead of at the end of the turn: the last act before the mesh is left. */
  flush(): void {
    this.#publish()
  }

  // --- requests of this thread --------------------------------------------------------------------------

  send(call: Call): boolean {
    const outbox = this.#outbox(call.thread)
    if (outbox === undefined) return false
    const encoded = this.#encoded
    this.#encode(call.body, encoded)
    this.#slots.add(call)
    const header = this.#header
    header.kind = call.stream ? FrameKind.StreamRequest : FrameKind.Request
    header.flags = 0
    header.id = call.requestId
    header.service = call.service.handle
    header.instance = call.instance
    header.attempt = call.attempt | (call.stream ? call.window << WINDOW_SHIFT : 0) | (call.qos << CLASS_SHIFT)
    header.ownCodec = this.#codec.ownHash
    header.deadline = call.deadline
    header.extras = extrasOf(call)
    if (call.stream) {
      const { thread, requestId, instance } = call
      call.items = new RemoteItems(
        call.window,
        (credits) => this.#control(thread, FrameKind.Credit, requestId, instance, credits),
        () => this.abandon(call),
      )
    }
    call.outbox = outbox
    try {
      outbox.send(header, encoded, call)
    } catch (error) {
      this.#slots.remove(call)
      throw error
    }
    this.#touch(outbox)
    return true
  }

  abandon(call: Call): void {
    const { requestId, thread, position } = call
    if (requestId === 0) return
    this.#slots.remove(call)
    // A frame that still waits for room in the lane is dropped there.
    if (position >= 0) this.#control(thread, FrameKind.Cancel, requestId, call.instance, 0)
  }

  #control(thread: number, kind: number, id: number, instance: Handle, credits: number): void {
    const outbox = this.#outbox(thread)
    if (outbox === undefined) return
    this.#fill(kind, 0, id, instance)
    this.#header.service = credits
    outbox.send(this.#header, NOTHING, undefined)
    this.#touch(outbox)
  }

  // --- answers of this thread ---------------------------------------------------------------------------

  answer(source: number, id: number, kind: number, value: unknown): void {
    const outbox = this.#outbox(threadOf(source))
    if (outbox === undefined) return
    try {
      this.#encode(value, this.#encoded)
    } catch (error) {
      this.error(source, id, error, 0)
      return
    }
    this.#fill(kind, 0, id, farThreadOf(source))
    this.#header.ownCodec = this.#codec.ownHash
    outbox.send(this.#header, this.#encoded, undefined)
    this.#touch(outbox)
  }

  error(source: number, id: number, error: unknown, flags: number): void {
    const outbox = this.#outbox(threadOf(source))
    if (outbox === undefined) return
    const text = errorToText(error)
    const body = new Encoded()
    body.kind = BodyKind.Text
    body.text = text
    body.length = Buffer.byteLength(text)
    body.ascii = body.length === text.length
    this.#fill(FrameKind.Error, flags, id, farThreadOf(source))
    outbox.send(this.#header, body, undefined)
    this.#touch(outbox)
  }

  /** `instance`: whom a control frame concerns, or the thread at another node that an answer goes to. */
  #fill(kind: number, flags: number, id: number, instance: number): void {
    const header = this.#header
    header.kind = kind
    header.flags = flags
    header.id = id
    header.service = 0
    header.instance = instance
    header.attempt = 0
    header.ownCodec = 0
    header.deadline = 0
    header.extras = ''
  }

  #encode(value: unknown, out: Encoded): void {
    this.#codec.encode(value, out)
    if (out.length > this.#options.maxBodyBytes) {
      throw new LinkmeshError(
        'LM_LIMIT_EXCEEDED',
        `the body has ${out.length} bytes; ${this.#options.maxBodyBytes} are allowed`,
        {
          field: 'body',
          limit: this.#options.maxBodyBytes,
        },
      )
    }
  }

  decode(memory: LaneMemory, at: number): unknown {
    const { u32, f64 } = memory
    const word = at >>> 2
    const kind = u32[word + Word.Kind] as number
    const length = u32[word + Word.Body] as number
    const start = at + HEADER_BYTES
    const own = u32[word + Word.OwnCodec] as number
    if ((kind & Flag.Blob) === 0) return this.#codec.decode((kind >>> 8) & 0xff, memory, start, start + length, own)
    const blob = this.#core.binding.blobTake(this.#core.handle, f64[start >>> 3] as number)
    if (blob === null)
      throw new LinkmeshError('LM_CODEC', 'a large body is gone: its sender has ended', { field: 'body' })
    const large = { bytes: Buffer.from(blob.buffer, blob.byteOffset, blob.byteLength), u8: blob }
    return this.#codec.decode((kind >>> 8) & 0xff, large, 0, blob.length, own)
  }

  discard(memory: LaneMemory, at: number): void {
    // A large body must be taken, or it would stay for ever.
    if (((memory.u32[(at >>> 2) + Word.Kind] as number) & Flag.Blob) === 0) return
    this.#core.binding.blobTake(this.#core.handle, memory.f64[(at + HEADER_BYTES) >>> 3] as number)
  }

  extras(memory: LaneMemory, at: number): string {
    const word = at >>> 2
    const length = memory.u32[word + Word.Extras] as number
    if (length === 0) return ''
    const start = at + HEADER_BYTES + (memory.u32[word + Word.Body] as number)
    return memory.bytes.toString('utf8', start, start + length)
  }

  #outbox(thread: number): Outbox | undefined {
    const recent = this.#recent
    if (recent !== undefined && recent.thread === thread && !recent.closed) return recent
    const known = this.#outboxes.get(thread)
    if (known !== undefined) {
      if (known.closed) return undefined
      this.#recent = known
      return known
    }
    const { binding, handle } = this.#core
    const lane = binding.laneOpen(handle, thread)
    const memory = lane < 0 ? null : binding.laneMemory(handle, lane)
    if (memory === null) return undefined
    const outbox = new Outbox(this.#core, thread, lane, memory)
    this.#outboxes.set(thread, outbox)
    return outbox
  }

  #touch(outbox: Outbox): void {
    // After an idle spell there is nothing to batch with yet, and the receiver has to be woken: the sooner the better.
    if (!this.#polling && outbox.commit()) {
      this.#polling = true
      this.#stirred = true
      soon(this.#rung)
      return
    }
    if (!outbox.dirty) {
      outbox.dirty = true
      if (this.#dirty.push(outbox) === 1) soon(this.#flush)
    }
    // In a long batch the receiver begins with the first frames while the next ones are written: both threads work at
    // once, and neither is silent for so long that the other falls asleep.
    if (++outbox.unpublished >= EARLY) outbox.commit()
    this.stir()
  }

  /** Something is under way: looks into the inbox on every turn for another poll window. */
  stir(): void {
    this.#stirred = true
    if (!this.#polling) {
      this.#polling = true
      setImmediate(this.#turn)
    }
  }

  /** Whether there was anything to publish. */
  #publish(): boolean {
    if (this.#core.closed || this.#dirty.length === 0) return false
    const dirty = this.#dirty
    this.#dirty = []
    for (const outbox of dirty) {
      outbox.dirty = false
      if (!outbox.commit()) this.threadEnded(outbox.thread)
    }
    return true
  }

  readonly #flush = (): void => {
    if (!this.#publish() || !this.#woken) return
    this.#woken = false
    // Whoever woke this thread may wait for the answer on this very core: a look at an empty inbox gives way.
    this.#poll()
  }

  /**
   * Looks for the answer to the first frame after an idle spell before it gives way to the event loop: waking the
   * receiver took as long as the answer, and the loop's first turn takes longer while nothing of it is in the caches.
   */
  readonly #rung = (): void => {
    // A look that finds nothing gives way to other threads, and the next one has the answer as a rule: the clock is for the
    // looks after it. Giving way may take longer than the window, so there is one more look after the last.
    let until = 0
    let late = false
    for (let looks = 0; !this.#core.closed && this.#poll() === 0 && !late; looks++) {
      if (looks === 0) continue
      const now = nowMs()
      if (until === 0) until = now + this.#options.pollWindowMs / 4
      late = now >= until
    }
    // Behind whatever waits for the answer.
    soon(this.#look)
  }

  readonly #look = (): void => {
    setImmediate(this.#turn)
  }

  // --- the inbox ----------------------------------------------------------------------------------------

  #wake(): void {
    this.#notice = true
    if (this.#polling) return
    this.#polling = true
    this.#woken = true
    this.#turn()
  }

  readonly #turn = (): void => {
    if (this.#core.closed) {
      this.#polling = false
      return
    }
    const frames = this.#poll() + (this.poller?.poll() ?? 0)
    // What was answered at once goes out at once, before anything that can wait.
    if (frames > 0) this.#flush()
    if (this.#dispatcher.waits.size > 0) this.#dispatcher.waits.take()
    const blocked = this.#retryBlocked()
    this.#core.deadlines.wind()
    const now = nowMs()
    if (frames > 0 || this.#stirred) {
      this.#stirred = false
      this.#lastMs = now
    }
    if (this.#core.epoch !== this.#epoch) {
      this.#epoch = this.#core.epoch
      this.#notice = true
    }
    if (this.#notice) this.#noticed(now)
    if (this.#notice || now - this.#lastMs < this.#options.pollWindowMs) setImmediate(this.#turn)
    // Nobody rings when a full lane gets room again, so whoever waits for room looks.
    else if (blocked) setTimeout(this.#turn, 1)
    else this.#sleep()
  }

  /**
   * The log can wait for one poll window: most wakes are for a frame, and whoever sent it waits for the answer, while
   * reading the log after an idle spell takes as long as answering.
   */
  #noticed(now: number): void {
    if (this.#noticedMs === 0) this.#noticedMs = now
    if (now - this.#noticedMs < this.#options.pollWindowMs) return
    this.#notice = false
    this.#noticedMs = 0
    this.#options.onNotice()
    // Also grants whose requests were given up: their places go back.
    this.#dispatcher.waits.take()
  }

  #sleep(): void {
    if (this.#core.closed) {
      this.#polling = false
      return
    }
    if (this.#core.binding.inboxArm(this.#core.handle) === 1) {
      this.#notice = true
      setImmediate(this.#turn)
    } else this.#polling = false
  }

  #retryBlocked(): boolean {
    let blocked = false
    for (const outbox of this.#outboxes.values()) {
      if (outbox.closed || !outbox.blocked) continue
      if (outbox.commit()) blocked ||= outbox.blocked
      else this.threadEnded(outbox.thread)
    }
    return blocked
  }

  #poll(): number {
    const { binding, handle, scratch } = this.#core
    const count = binding.inboxPoll(handle)
    for (let index = 0; index < count; index++) {
      const at = Scratch.Lanes + index * 3
      this.#drain(scratch[at] as number, scratch[at + 1] as number, scratch[at + 2] as number)
      if (this.#core.closed) return 0
    }
    this.#dispatcher.completeTogether()
    return count
  }

  #drain(lane: number, from: number, to: number): void {
    const { binding, handle } = this.#core
    let inbox = this.#inboxes[lane]
    if (inbox === undefined) {
      const found = binding.laneMemory(handle, lane)
      if (found === null) return
      const memory = new LaneMemory(found)
      inbox = { memory, source: threadOf(memory.u32[((from & memory.mask) >>> 2) + Word.Source] as number) }
      this.#inboxes[lane] = inbox
    }
    const { memory } = inbox
    const { mask, u32, capacity } = memory
    let head = from
    let released = from
    while (head !== to) {
      const at = head & mask
      const size = u32[at >>> 2] as number
      if (size < 8 || (size & 7) !== 0 || size > (to - head) >>> 0) {
        this.#core.logger.error(
          { lane, at, size },
          'linkmesh: a lane holds a broken frame; its unread bytes are dropped',
        )
        head = to
        break
      }
      try {
        this.#frame(memory, at)
      } catch (error) {
        this.#core.logger.error({ err: error, lane }, 'linkmesh: a frame could not be handled')
      }
      if (this.#core.closed) return
      head = (head + size) >>> 0
      // Give room back early when a batch is large, or its sender would stand still.
      if ((head - released) >>> 0 > capacity >>> 2) {
        binding.laneRelease(handle, lane, head)
        released = head
      }
    }
    if (head !== released) binding.laneRelease(handle, lane, head)
  }

  #frame(memory: LaneMemory, at: number): void {
    const { u32 } = memory
    const word = at >>> 2
    const kind = u32[word + Word.Kind] as number
    switch (kind & 0xff) {
      case FrameKind.Pad:
        return
      case FrameKind.Request:
        this.#inbound.request(memory, at, false)
        return
      case FrameKind.StreamRequest:
        this.#inbound.request(memory, at, true)
        return
      case FrameKind.Cancel:
        this.#inbound.cancel(u32[word + Word.Source] as number, u32[word + Word.Id] as number)
        return
      case FrameKind.Credit:
        this.#inbound.credit(
          u32[word + Word.Source] as number,
          u32[word + Word.Id] as number,
          u32[word + Word.Credits] as number,
        )
        return
      default:
        this.#answered(memory, at, kind)
        return
    }
  }

  #answered(memory: LaneMemory, at: number, kind: number): void {
    const call = this.#slots.get(memory.u32[(at >>> 2) + Word.Id] as number)
    if (call === undefined || call.thread !== threadOf(memory.u32[(at >>> 2) + Word.Source] as number)) {
      // Given up meanwhile, or from somebody who was not asked.
      this.discard(memory, at)
      return
    }
    let value: unknown
    try {
      value = this.decode(memory, at)
    } catch (error) {
      if ((kind & 0xff) === FrameKind.Item) this.abandon(call)
      else this.#slots.remove(call)
      this.#failed(call, error, Outcomes.Error)
      return
    }
    switch (kind & 0xff) {
      case FrameKind.Reply:
        this.#slots.remove(call)
        this.#dispatcher.succeededTogether(call, value)
        return
      case FrameKind.Error: {
        this.#slots.remove(call)
        const error = errorFromText(value as string)
        this.#failed(call, error, (kind & Flag.NotDelivered) !== 0 ? Outcomes.Unreachable : failureOf(error))
        return
      }
      case FrameKind.Item:
        this.#open(call).push(value)
        return
      case FrameKind.End: {
        const items = this.#open(call)
        this.#slots.remove(call)
        items.end()
        return
      }
    }
  }

  #open(call: Call): RemoteItems {
    const items = call.items as RemoteItems
    if (!call.open) this.#dispatcher.opened(call, items)
    return items
  }

  #failed(call: Call, error: unknown, outcome: Outcome): void {
    if (call.open) call.items?.end(error)
    else this.#dispatcher.failed(call, error, outcome)
  }

  // --- ends ---------------------------------------------------------------------------------------------

  /** The thread is gone: what it had taken is unknown, the rest was not delivered. */
  threadEnded(thread: number): void {
    // What it answered before it ended still counts.
    this.#poll()
    const outbox = this.#outboxes.get(thread)
    if (outbox !== undefined) outbox.closed = true
    // Lanes are large: those of ended threads go.
    this.#outboxes.delete(thread)
    for (const [lane, inbox] of this.#inboxes.entries()) if (inbox?.source === thread) this.#inboxes[lane] = undefined
    this.#inbound.callerEnded(thread)
    const node = this.#core.binding.nodeOfThread(this.#core.handle, thread)
    for (const call of this.#slots.filter((one) => one.thread === thread)) {
      const taken = call.outbox?.taken(call) ?? false
      this.#slots.remove(call)
      const error =
        node === ''
          ? new LinkmeshError('LM_THREAD_ENDED', `the thread that served ${call.service.name} has ended`, {
              outcome: taken ? 'unknown' : 'not-delivered',
            })
          : new LinkmeshError(
              'LM_NODE_LOST',
              `the connection to node ${node}, which served ${call.service.name}, has ended`,
              {
                outcome: taken ? 'unknown' : 'not-delivered',
              },
            )
      this.#failed(call, error, taken ? Outcomes.Unknown : Outcomes.Unreachable)
    }
  }
}
