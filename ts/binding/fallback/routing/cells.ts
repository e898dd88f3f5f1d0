/**
 * What is known of each instance at this moment: a public line of 16 words, which readers of `views` see change in
 * place, and a private block. The layout is the contract's {@link InstanceWord}, the rules `crates/routing/src/cells.rs`.
 */
import { Breaker, type Handle, Health, INSTANCE_WORDS, InstanceWord as Word } from '../../contract.js'
import { Histogram } from '../metrics-histogram.js'
import { slotOf } from '../registry-handles.js'
import { CircuitBreaker } from './breaker.js'
import { Estimate } from './estimate.js'

const SLOTS = 2 ** 17
const HEALTH_BITS = 0xf
const BREAKER_SHIFT = 4
/** Instances with a histogram of their own. */
const MAX_SERIES = 1_024
const MOST_IN_FLIGHT = 2 ** 32 - 1

/** The private block of one instance. */
export class InstanceState {
  /** Peak latency, microseconds. */
  readonly latency = new Estimate()
  /** Share of recent requests that failed, 0 to 1. */
  readonly failing = new Estimate()
  /** Not eligible before this time, microseconds: it answered Rejected. */
  rejectedUntilUs = 0
  /** Not eligible before this time, microseconds: an operator said so. */
  ejectedUntilUs = 0
  /** It begins, or began again, with a small share at this time, microseconds. */
  warmingSinceUs: number
  /** `adaptive` only: recent latency, microseconds. */
  readonly recent = new Estimate()
  /** `adaptive` only: when it last answered, or was given work after it had none, microseconds. */
  answeredAtUs: number
  readonly breaker = new CircuitBreaker()
  /** Requests by outcome since registration. */
  readonly outcomes: number[] = [0, 0, 0, 0, 0, 0, 0]
  /** Latencies of completed requests, cancelled ones excepted, microseconds; undefined when too many others have one. */
  latencies: Histogram | undefined

  constructor(nowUs: number) {
    this.warmingSinceUs = nowUs
    this.answeredAtUs = nowUs
  }
}

/** How an instance appears in its line. */
export interface Placement {
  readonly handle: Handle
  readonly service: Handle
  readonly thread: number
  readonly weight: number
  readonly limit: number
  readonly health: Health
  readonly nowUs: number
}

/** All of them. Any handle may be asked about: its slot is masked. */
export class Cells {
  /** 8 MiB of zeros that the operating system commits page by page, as instances come. */
  readonly words = new Uint32Array(SLOTS * INSTANCE_WORDS)
  readonly #floats = new Float32Array(this.words.buffer)
  readonly #states: InstanceState[] = []
  #series = 0

  /** The block of a slot that was ever placed. */
  state(handle: Handle): InstanceState | undefined {
    return this.#states[slotOf(handle)]
  }

  get(handle: Handle, word: number): number {
    return this.words[slotOf(handle) * INSTANCE_WORDS + word] as number
  }

  /** Whether the slot belongs to this handle now. */
  is(handle: Handle): boolean {
    return this.get(handle, Word.Handle) === handle
  }

  /** Adds one to a counter, modulo 2^32. */
  count(handle: Handle, word: number): void {
    this.#set(handle, word, this.get(handle, word) + 1)
  }

  /** Takes one place below `limit`, 0 = no limit. False when there is none. */
  reserve(handle: Handle, limit: number): boolean {
    const inFlight = this.get(handle, Word.InFlight)
    if (inFlight >= (limit === 0 ? MOST_IN_FLIGHT : limit)) return false
    this.#set(handle, Word.InFlight, inFlight + 1)
    return true
  }

  /** Gives the place back. */
  release(handle: Handle): void {
    this.#set(handle, Word.InFlight, this.get(handle, Word.InFlight) - 1)
  }

  /** Requests picked, modulo 2^32: those in flight and those that ended. */
  picked(handle: Handle): number {
    const words = [Word.InFlight, Word.Succeeded, Word.Failed, Word.Cancelled]
    return words.reduce((sum, word) => (sum + this.get(handle, word)) >>> 0, 0)
  }

  /** Latency estimate, microseconds. */
  latencyUs(handle: Handle): number {
    return this.#floats[slotOf(handle) * INSTANCE_WORDS + Word.LatencyUs] as number
  }

  setLatencyUs(handle: Handle, latencyUs: number): void {
    this.#floats[slotOf(handle) * INSTANCE_WORDS + Word.LatencyUs] = latencyUs
  }

  health(handle: Handle): Health {
    return Math.min(this.get(handle, Word.State) & HEALTH_BITS, Health.Dead) as Health
  }

  setHealth(handle: Handle, health: Health): void {
    this.#set(handle, Word.State, (this.get(handle, Word.State) & ~HEALTH_BITS) | health)
  }

  breaker(handle: Handle): Breaker {
    return Math.min((this.get(handle, Word.State) >>> BREAKER_SHIFT) & 0xf, Breaker.HalfOpen) as Breaker
  }

  showBreaker(handle: Handle, state: Breaker): void {
    const others = this.get(handle, Word.State) & ~(0xf << BREAKER_SHIFT)
    this.#set(handle, Word.State, others | (state << BREAKER_SHIFT))
  }

  /** New weight and limit. */
  reweigh(handle: Handle, weight: number, limit: number): void {
    this.#set(handle, Word.Weight, weight)
    this.#set(handle, Word.Limit, limit)
    this.#changed(handle)
  }

  /** The slot belongs to nobody. */
  clear(handle: Handle): void {
    this.#set(handle, Word.Handle, 0)
    this.#set(handle, Word.State, Health.Dead)
    const state = this.state(handle)
    if (state?.latencies !== undefined) {
      state.latencies = undefined
      this.#series--
    }
    this.#changed(handle)
  }

  /** Gives a slot to a new instance, everything forgotten. */
  place(placement: Placement): void {
    const { handle } = placement
    const state = new InstanceState(placement.nowUs)
    this.#states[slotOf(handle)] = state
    if (this.#series < MAX_SERIES) {
      state.latencies = new Histogram()
      this.#series++
    }
    for (let word: number = Word.State; word < INSTANCE_WORDS; word++) this.#set(handle, word, 0)
    this.#set(handle, Word.State, placement.health)
    this.#set(handle, Word.Weight, placement.weight)
    this.#set(handle, Word.Limit, placement.limit)
    this.#set(handle, Word.Service, placement.service)
    this.#set(handle, Word.Thread, placement.thread)
    this.#set(handle, Word.Handle, handle)
    this.#changed(handle)
  }

  #set(handle: Handle, word: number, value: number): void {
    this.words[slotOf(handle) * INSTANCE_WORDS + word] = value
  }

  /** On one thread nobody sees the odd number in between, so the sequence goes on by two. */
  #changed(handle: Handle): void {
    this.#set(handle, Word.Epoch, this.get(handle, Word.Epoch) + 2)
  }
}
