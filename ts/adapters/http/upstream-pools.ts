/** Connections to upstream instances: some to each address, kept open. */
import type { Dispatcher, Pool } from 'undici'

const CONNECTIONS_PER_ADDRESS = 256
/** Instances come and go; of more addresses than this the one that was met first is let go. */
const ADDRESSES_MAX = 1_024

export interface UpstreamPool {
  dispatcher: Dispatcher
  /** As the `host` field says it. */
  authority: string
}

export class UpstreamPools {
  private readonly pools = new Map<string, UpstreamPool & { dispatcher: Pool }>()

  /** @param address `http://host:port`, as an instance registers it */
  get(address: string): UpstreamPool | Promise<UpstreamPool> {
    return this.pools.get(address) ?? this.open(address)
  }

  /** Ends every connection. */
  close(): void {
    for (const { dispatcher } of this.pools.values()) void dispatcher.destroy()
    this.pools.clear()
  }

  private async open(address: string): Promise<UpstreamPool> {
    // Loaded when something is forwarded: most gateways have services of their own behind them.
    const { Pool } = await import('undici')
    const known = this.pools.get(address)
    if (known) return known
    if (this.pools.size >= ADDRESSES_MAX) {
      const [oldest, { dispatcher }] = this.pools.entries().next().value as [string, { dispatcher: Pool }]
      this.pools.delete(oldest)
      // What is under way on it is still answered.
      void dispatcher.close()
    }
    const { origin, host } = new URL(address)
    const dispatcher = new Pool(origin, { connections: CONNECTIONS_PER_ADDRESS, pipelining: 1 })
    const pool = { dispatcher, authority: host }
    this.pools.set(address, pool)
    return pool
  }
}
