/**
 * Milliseconds on the monotonic clock that every thread of the process shares.
 *
 * `performance.now()` starts at zero in each worker, so a deadline could not cross threads; `hrtime` has one origin
 * for the process but costs an array or a BigInt a call. The difference of the two is measured once.
 */
import { performance } from 'node:perf_hooks'

const offset = Number(process.hrtime.bigint()) / 1e6 - performance.now()

export function nowMs(): number {
  return performance.now() + offset
}
