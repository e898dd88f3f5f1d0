/**
 * The frames of a lane. Both ends run on one machine in one process, so numbers are in its own byte order.
 *
 * A frame is 8-byte aligned and never wraps: when it does not fit before the end of the ring, a pad frame fills the rest
 * and the frame begins at offset 0. Sizes are multiples of 8 and include the header.
 *
 * | word | content |
 * |---|---|
 * | 0 | length of the whole frame, bytes |
 * | 1 | kind, body kind << 8, flags << 16 |
 * | 2 | request id: generation << 20 | slot, chosen by the caller |
 * | 3 | service handle (requests); credits (credit frames) |
 * | 4 | instance handle (requests, cancel, credit); far thread (answers to another node) |
 * | 5 | source: id of the sending thread, or of a node; then the thread there << 20 |
 * | 6 | length of the body, bytes |
 * | 7 | length of the extras (JSON: key, metadata) after the body, bytes |
 * | 8 | attempt; window << 16 (stream requests); class of service << 29, 0 = that of the service |
 * | 9 | hash of the own codec's name, when it made the body |
 * | 10–11 | deadline as float64, milliseconds on the process clock; Infinity for none |
 */
export const FrameKind = {
  Pad: 0,
  Request: 1,
  /** A request whose answer is a stream; its window is in the upper half of the attempt word. */
  StreamRequest: 2,
  Reply: 3,
  /** Body: JSON of the error. */
  Error: 4,
  /** Nobody waits for this request any more. */
  Cancel: 5,
  Item: 6,
  End: 7,
  /** The consumer took items: so many more may be sent. */
  Credit: 8,
} as const

export const Word = {
  Length: 0,
  Kind: 1,
  Id: 2,
  Service: 3,
  Credits: 3,
  Instance: 4,
  Source: 5,
  Body: 6,
  Extras: 7,
  Attempt: 8,
  OwnCodec: 9,
} as const

/** Parts of the attempt word. */
export const WINDOW_SHIFT = 16
export const WINDOW_MASK = 0x1fff
export const CLASS_SHIFT = 29

/** Index in a Float64Array, relative to the frame's start / 8. */
export const DEADLINE_F64 = 5
export const HEADER_BYTES = 48

export const Flag = {
  /** Written by the receiver before the handler starts: from here on the message counts as delivered. */
  Taken: 1 << 16,
  /** The body is in a blob; its id is the float64 where the body would begin. */
  Blob: 1 << 17,
  /** Error frames: the handler was not started. */
  NotDelivered: 1 << 18,
} as const

/** Views on one lane's memory. */
export class LaneMemory {
  readonly u32: Uint32Array
  readonly f64: Float64Array
  readonly bytes: Buffer
  /** The same bytes as a plain array: its `slice` copies at once, a `Buffer`'s asks for its species first. */
  readonly u8: Uint8Array
  readonly capacity: number
  readonly mask: number

  constructor(memory: ArrayBuffer) {
    this.u32 = new Uint32Array(memory)
    this.f64 = new Float64Array(memory)
    this.bytes = Buffer.from(memory)
    this.u8 = new Uint8Array(memory)
    this.capacity = memory.byteLength
    this.mask = memory.byteLength - 1
  }
}

/** Rounded up to the frame alignment. */
export function aligned(length: number): number {
  return (length + 7) & ~7
}

/** Bits of a source that name the thread of this mesh; those above name the thread of the node that it stands for. */
const THREAD_BITS = 20
const THREAD_MASK = (1 << THREAD_BITS) - 1

/** The thread of this mesh, or the node, that a frame came from. */
export function threadOf(source: number): number {
  return source & THREAD_MASK
}

/** The thread of that node; 0 for a frame of this process. */
export function farThreadOf(source: number): number {
  return source >>> THREAD_BITS
}

const SLOT_BITS = 20
const SLOT_MASK = (1 << SLOT_BITS) - 1
const GENERATION_MASK = 0xfff

export function idOf(slot: number, generation: number): number {
  return (((generation & GENERATION_MASK) << SLOT_BITS) | slot) >>> 0
}

export function slotOfId(id: number): number {
  return id & SLOT_MASK
}

/** Most requests of one thread that may be outstanding on its lanes. */
export const MAX_SLOTS = 1 << SLOT_BITS
