/**
 * The sending end of a lane. Frames are written straight into the lane's memory; the commit that publishes them is
 * one call per microtask for all of them. When the lane is full, frames wait here, bounded and in order.
 */
import { Buffer } from 'node:buffer'
import { errorOf } from '../errors.js'
import type { Call } from './call.js'
import { BodyKind, type Encoded } from './codec.js'
import type { Core } from './core.js'
import { aligned, DEADLINE_F64, Flag, FrameKind, HEADER_BYTES, LaneMemory, Word } from './frame.js'

/** Frames and bytes that may wait for room in one lane. */
const MAX_QUEUED_FRAMES = 65_536
const MAX_QUEUED_BYTES = 64 << 20

interface Queued {
  bytes: Uint8Array
  /** The request in this frame, which is undelivered while it waits here. */
  call: Call | undefined
  /** Id of its large body, or 0. */
  blob: number
}

/** One frame's header, filled by the caller of {@link Outbox.send}. Reused: one per hub. */
export class Header {
  kind: number = FrameKind.Pad
  flags = 0
  id = 0
  service = 0
  instance = 0
  attempt = 0
  ownCodec = 0
  deadline = 0
  extras = ''
}

export class Outbox {
  readonly thread: number
  readonly lane: number
  readonly memory: LaneMemory
  /** Set while a commit is due. */
  dirty = false
  closed = false
  /** Frames that were written and not published. */
  unpublished = 0

  readonly #core: Core
  /** Free-running ends, modulo 2^32: written so far, and the receiver's place when last heard. */
  #tail = 0
  #head = 0
  #queue: Queued[] = []
  /** Index of the oldest queued frame: shifting a long array copies it. */
  #first = 0
  #queuedBytes = 0

  constructor(core: Core, thread: number, lane: number, memory: ArrayBuffer) {
    this.#core = core
    this.thread = thread
    this.lane = lane
    this.memory = new LaneMemory(memory)
  }

  get blocked(): boolean {
    return this.#first < this.#queue.length
  }

  /** Writes one frame, or queues it when the lane is full. `call` is the request that the frame carries, if any. */
  send(header: Header, body: Encoded, call: Call | undefined): void {
    let { kind: bodyKind, length: bodyLength } = body
    let flags = header.flags
    const large = bodyLength + HEADER_BYTES > this.memory.capacity >>> 2
    if (large) {
      flags |= Flag.Blob
      bodyLength = 8
    }
    const extrasLength = header.extras === '' ? 0 : Buffer.byteLength(header.extras)
    const size = HEADER_BYTES + aligned(bodyLength + extrasLength)
    let memory = this.memory
    // Answers are never refused: there are no more of them than requests that were let in.
    if (call !== undefined && this.blocked && this.#queueIsFull(size)) {
      throw errorOf('LM_SATURATED', `the lane to thread ${this.thread} and the queue before it are full`, {
        limit: MAX_QUEUED_FRAMES,
        retryAfterMs: 1,
      })
    }
    const blob = large ? this.#putBlob(body) : 0
    let at = this.blocked ? -1 : this.#reserve(size)
    if (at < 0) {
      memory = new LaneMemory(new ArrayBuffer(size))
      at = 0
      this.#queue.push({ bytes: memory.bytes, call, blob })
      this.#queuedBytes += size
      if (call !== undefined) call.position = -1
    } else if (call !== undefined) {
      call.position = (this.#tail - size) >>> 0
    }
    const { u32, f64, bytes } = memory
    const word = at >>> 2
    u32[word] = size
    u32[word + Word.Kind] = header.kind | (bodyKind << 8) | flags
    u32[word + Word.Id] = header.id
    u32[word + Word.Service] = header.service
    u32[word + Word.Instance] = header.instance
    u32[word + Word.Source] = this.#core.thread
    u32[word + Word.Body] = bodyLength
    u32[word + Word.Extras] = extrasLength
    u32[word + Word.Attempt] = header.attempt
    u32[word + Word.OwnCodec] = header.ownCodec
    f64[(at >>> 3) + DEADLINE_F64] = header.deadline
    const start = at + HEADER_BYTES
    if (blob !== 0) f64[start >>> 3] = blob
    else if (bodyLength > 0) writeBody(bytes, start, body)
    if (extrasLength > 0) bytes.write(header.extras, start + bodyLength, extrasLength, 'utf8')
  }

  /** Publishes what was written. False when the receiver is gone. */
  commit(): boolean {
    this.unpublished = 0
    if (this.closed) return false
    this.#flushQueue()
    return this.#publish()
  }

  /** Whether the receiver had begun with the request, as far as can be known. Meant for a receiver that has ended. */
  taken(call: Call): boolean {
    const { position } = call
    if (position < 0) return false
    // Released by the receiver: it was read, and it sets the mark before anything else.
    if (((this.#head - position) | 0) > 0) return true
    const word = (position & this.memory.mask) >>> 2
    return ((this.memory.u32[word + Word.Kind] as number) & Flag.Taken) !== 0
  }

  #publish(): boolean {
    const head = this.#core.binding.laneCommit(this.#core.handle, this.lane, this.#tail)
    if (head < 0) {
      this.closed = true
      return false
    }
    this.#head = head
    return true
  }

  /** Place for a frame of `size` bytes, contiguous; -1 when there is none now. */
  #reserve(size: number): number {
    const { capacity, mask, u32 } = this.memory
    let at = this.#tail & mask
    const toEnd = capacity - at
    const needed = size <= toEnd ? size : toEnd + size
    if (needed > capacity - ((this.#tail - this.#head) >>> 0)) {
      // The receiver may have moved on since it was last heard.
      if (!this.#publish() || needed > capacity - ((this.#tail - this.#head) >>> 0)) return -1
    }
    if (size > toEnd) {
      u32[at >>> 2] = toEnd
      u32[(at >>> 2) + Word.Kind] = FrameKind.Pad
      this.#tail = (this.#tail + toEnd) >>> 0
      at = 0
    }
    this.#tail = (this.#tail + size) >>> 0
    return at
  }

  #flushQueue(): void {
    while (this.#first < this.#queue.length) {
      const { bytes, call, blob } = this.#queue[this.#first] as Queued
      if (call?.settled !== true) {
        const at = this.#reserve(bytes.length)
        if (at < 0) break
        this.memory.bytes.set(bytes, at)
        if (call !== undefined) call.position = (this.#tail - bytes.length) >>> 0
      } else if (blob !== 0) this.#core.binding.blobTake(this.#core.handle, blob)
      this.#queuedBytes -= bytes.length
      this.#first++
    }
    if (this.#first > 0 && (this.#first === this.#queue.length || this.#first > 1_024)) {
      this.#queue = this.#queue.slice(this.#first)
      this.#first = 0
    }
  }

  #queueIsFull(size: number): boolean {
    return this.#queue.length - this.#first >= MAX_QUEUED_FRAMES || this.#queuedBytes + size > MAX_QUEUED_BYTES
  }

  #putBlob(body: Encoded): number {
    const bytes = body.bytes ?? Buffer.from(body.text)
    return this.#core.must(this.#core.binding.blobPut(this.#core.handle, bytes), 'a large body')
  }
}

function writeBody(out: Buffer, start: number, body: Encoded): void {
  const { bytes, text, length } = body
  if (bytes !== undefined) {
    out.set(bytes, start)
  } else if (body.kind !== BodyKind.None) {
    if (body.ascii && length <= 64)
      for (let index = 0; index < length; index++) out[start + index] = text.charCodeAt(index)
    else if (body.ascii) out.write(text, start, length, 'latin1')
    else out.write(text, start, length, 'utf8')
  }
}
