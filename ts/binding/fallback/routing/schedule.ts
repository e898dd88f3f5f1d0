/** Smooth weighted round robin, worked out in advance, as `crates/routing/src/schedule.rs`. */

/** Longest schedule, unless there are more members: then each gets one step at least. */
const MAX_STEPS = 4_096

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b)
}

/** Weights with the same proportions and a total of at most {@link MAX_STEPS}; rounded down beyond it, never below 1. */
function reduced(weights: readonly number[]): number[] {
  const divisor = Math.max(weights.reduce(gcd, 0), 1)
  const divided = weights.map((weight) => Math.floor(weight / divisor))
  const total = divided.reduce((sum, weight) => sum + weight, 0)
  if (total <= MAX_STEPS) return divided
  return divided.map((weight) => Math.max(Math.floor((weight * MAX_STEPS) / total), 1))
}

interface Turn {
  /** When it is due: this over `weight`. Cross products stay below 2^53. */
  due: number
  weight: number
  member: number
}

/**
 * The order in which members take their turns: each as often as its weight, its turns evenly spaced. Turn k of member i
 * of n is due at (k + (i + ½)/n) / weight; turns are taken as they fall due, ties go to the earlier member.
 */
export function smooth(weights: readonly number[]): number[] {
  const n = weights.length
  const turns: Turn[] = []
  for (const [member, weight] of reduced(weights).entries())
    for (let k = 0; k < weight; k++) turns.push({ due: 2 * k * n + 2 * member + 1, weight, member })
  turns.sort((a, b) => a.due * b.weight - b.due * a.weight || a.member - b.member)
  return turns.map((turn) => turn.member)
}
