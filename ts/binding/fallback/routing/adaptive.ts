/** The score of `adaptive`, to the bit of `crates/routing/src/adaptive.rs`, which says why. */

/** Up to this multiple of the usual latency an instance is cold. */
const HOT = 1.5
/** Below this share of it an instance is fast, and is given more. */
const FAST = 0.67
/** How far one answer moves the latency of an instance. */
export const LATENCY_STEP = 1 / 8

/** What the score is made of. Latencies in microseconds. */
export interface Signals {
  /** Requests in flight, and what failures add to them. */
  readonly busy: number
  readonly weight: number
  /** 0 = never measured. */
  readonly latencyUs: number
  /** Of the service. */
  readonly usualUs: number
  /** Time since the last answer or since it had nothing to do, while it has work; else 0. */
  readonly silenceUs: number
}

/** Lower is better. */
export function adaptiveScore({ busy, weight, latencyUs, usualUs, silenceUs }: Signals): number {
  let latency = latencyUs <= 0 ? usualUs : latencyUs
  if (silenceUs > latency) latency = silenceUs
  const ratio = latency / usualUs
  let heat = 1
  if (ratio > HOT) {
    const excess = ratio / HOT
    heat = excess * excess
  } else if (ratio < FAST) {
    heat = ratio / FAST
  }
  return ((busy + 1) * heat) / weight
}
