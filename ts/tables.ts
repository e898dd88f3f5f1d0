/**
 * `linkmesh/tables`: memory that every worker thread of the process can share.
 *
 * A table opened with a `name` is one table per process: each thread that opens the name sees the same data. Without a
 * name it belongs to its owner alone. On the fallback backend a name is shared within one thread.
 */
export { ABSENT } from './tables/batch.js'
export { CompressedRadixArena, type RadixArenaOptions, SPANS_LENGTH } from './tables/compressed-radix-arena.js'
export { FingerprintedIdTable, type IdTableOptions, type Key } from './tables/fingerprinted-id-table.js'
export { Ring, type RingOptions } from './tables/ring.js'
