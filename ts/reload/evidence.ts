/**
 * What a count of requests proves of the share behind it: bounds that hold for few requests, and however often one looks.
 *
 * Both are the Chernoff bound of a binomial share, `n · kl(k/n, p)`: exact for every n, where a normal approximation is
 * wrong for shares near 0. A watch looks again and again and would find some chance excess sooner or later; the threshold
 * is the one that holds for all looks at once (Garivier and Cappé, "The KL-UCB algorithm", COLT 2011, theorem 10:
 * P(any look of N requests) ≤ e · ⌈δ ln N⌉ · exp(−δ)).
 */

/** δ for which a watch of a million requests is wrong at most once in a hundred watches. */
const PROOF = 10.7
/** ln 100: one look that is wrong at most once in a hundred times. */
const LIKELY = Math.log(100)

/** Whether `count` of `total` prove that more than `share` of such requests are so. False when it may be chance. */
export function proves(count: number, total: number, share: number): boolean {
  return total > 0 && count / total > share && total * divergence(count / total, share) > PROOF
}

/** The largest share that `count` of `total` still leave likely; 1 for nothing seen. */
export function likelyAtMost(count: number, total: number): number {
  if (total === 0) return 1
  const seen = count / total
  let [low, high] = [seen, 1]
  // Halved to less than a millionth.
  for (let step = 0; step < 20; step++) {
    const middle = (low + high) / 2
    if (total * divergence(seen, middle) > LIKELY) high = middle
    else low = middle
  }
  return high
}

/** Kullback-Leibler divergence of two coins, natural logarithm. */
function divergence(seen: number, share: number): number {
  return term(seen, share) + term(1 - seen, 1 - share)
}

function term(seen: number, share: number): number {
  return seen === 0 ? 0 : seen * Math.log(seen / share)
}
