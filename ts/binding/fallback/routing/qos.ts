/** Classes of service. As `crates/routing/src/qos.rs`. */
import { Qos, type QosClass } from '../../contract.js'

/** A class: never {@link Qos.Default}. */
export type Rank = Exclude<Qos, 0>

/** By number less one: the first is shed first. */
export const CLASSES: readonly QosClass[] = [
  'best-effort',
  'high-throughput',
  'low-latency',
  'high-reliability',
  'critical',
]

/** The first to be shed first. */
export const RANKS: readonly Rank[] = [1, 2, 3, 4, 5]

/** The first to be given a place first. */
export const BY_URGENCY: readonly Rank[] = [
  Qos.Critical,
  Qos.LowLatency,
  Qos.HighReliability,
  Qos.HighThroughput,
  Qos.BestEffort,
]

export function classWord(rank: Rank): QosClass {
  return CLASSES[rank - 1] as QosClass
}

export function rankOf(word: QosClass): Rank {
  return (CLASSES.indexOf(word) + 1) as Rank
}

/** Whether a slow answer is worth a second request. */
export function mayHedge(rank: Rank): boolean {
  return rank === Qos.LowLatency || rank === Qos.Critical
}
