/** The score of `adaptive`, to the bit of `crates/routing/src/adaptive.rs`, which says why. */

/** Up to this multiple of the usual latency an instance is cold. */
export const HOT = 2
/** From this excess over `HOT` on, heat grows by its square. */
const STEEP = 2
/** How far one answer moves the latency of an instance. */
export const LATENCY_STEP = 1 / 8
/** How far one good answer moves the latency of the service. */
export const SERVICE_STEP = 1 / 64
/** Time in which that of an instance loses half of its distance from the usual, milliseconds. */
export const FORGIVEN_MS = 2_000

/** What the score is made of. Latencies in microseconds. */
export interface Signals {
  /** Requests in flight, and what failures add to them. */
  readonly busy: number
  /** Its requests in flight over those of its peers, this one counted in both. */
  readonly crowd: number
  readonly weight: number
  /** Of the instance; the usual one when it was never measured. */
  readonly latencyUs: number
  /** Of the service. */
  readonly usualUs: number
  /** Time since the last answer or since it had nothing to do, while it has work; else 0. */
  readonly silenceUs: number
}

/** Lower is better. */
export function adaptiveScore({ busy, crowd, weight, latencyUs, usualUs, silenceUs }: Signals): number {
  const latency = silenceUs > latencyUs ? silenceUs : latencyUs
  let ratio = latency / usualUs
  if (crowd > 1) ratio /= crowd
  let heat = 1
  if (ratio > HOT) {
    const excess = ratio / HOT
    heat = excess > STEEP ? (excess * excess) / STEEP : excess
  }
  return ((busy + 1) * heat) / weight
}
