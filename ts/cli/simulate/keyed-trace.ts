/** The run of `--all` whose arrivals are a trace: production requests with keys, on servers that remember keys. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const bounded = (balancer: string) => ({
  name: `${balancer}, bounded`,
  policy: { balancer, balancing: { hashBalanceFactor: 125 } },
})

/**
 * Eight servers of a model with eight requests each at a time. Work takes 6 s; on one of the 200 keys (conversations)
 * that a server has in its cache, two fifths of that.
 */
export const KEYED_TRACE = {
  name: 'keyed-trace',
  about: 'Arrivals and keys from a trace; eight servers that answer a key they remember in two fifths of the time.',
  seed: 1,
  durationMs: 1,
  deadlineMs: 120_000,
  arrivals: { rates: [1] },
  servers: [{ count: 8, parallel: 8, workMs: 6_000, sigma: 0.5, cache: 200, hitFactor: 0.4 }],
  goal: 'p99',
  policies: [
    { name: 'adaptive' },
    { name: 'least-request' },
    { name: 'peak-ewma' },
    { name: 'rendezvous' },
    bounded('maglev'),
    bounded('consistent-hash'),
    { name: 'rival:round-robin' },
    { name: 'rival:random' },
    { name: 'rival:least-request' },
    { name: 'rival:count-ewma' },
    { name: 'rival:tower-p2c-peak-ewma' },
    { name: 'rival:moleculer-latency' },
  ],
}

/** A trace of 12,031 production arrivals, where the folder of sample data is there: `LINKMESH_DATA`, or beside a checkout. */
export function sampleTrace(): string | undefined {
  const folder = process.env.LINKMESH_DATA ?? fileURLToPath(new URL('../../../../../shared/data', import.meta.url))
  const file = join(folder, 'traces/mooncake-conversation.jsonl.gz')
  return existsSync(file) ? file : undefined
}
