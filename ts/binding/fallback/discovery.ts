/** Finding services: the sets, ranks, cache and deadline that the module docs of `crates/registry/src/discovery` say. */
import type { DiscoveryResult, Handle } from '../contract.js'
import { FuzzyMatcher } from './discovery-fuzzy.js'
import { isTouchedBy, type ReadQuery, readQuery } from './discovery-query.js'
import { rank, scoreOf, type Why } from './discovery-rank.js'
import type { FallbackRegistry } from './registry.js'
import type { EventLog } from './registry-events.js'
import type { LoadSource } from './registry-instance.js'

/** Names between two looks at the clock. */
const BLOCK = 256
/** Results kept. */
const ENTRIES = 128
/** Longest life of a result, microseconds. */
const LIFE_US = 250_000

type Found = DiscoveryResult['results'][number]

interface Kept {
  readonly results: Found[]
  readonly atUs: number
  /** All events up to here are known not to touch the result. */
  sequence: number
}

/** Finds services of one registry. */
export class FallbackDiscovery {
  readonly #registry: FallbackRegistry
  /** By query; the oldest first. */
  readonly #kept = new Map<string, Kept>()
  /** All names in order, as of `#namesEpoch`. */
  #names: { readonly name: string; readonly service: Handle }[] = []
  #namesEpoch = 0

  constructor(registry: FallbackRegistry) {
    this.#registry = registry
  }

  /**
   * Ranked services that fit. `json`: the contract's `DiscoveryQuery`; `zone`: the mesh's. `nowUs` is asked at the
   * start and every 256 names.
   */
  discover(json: string, zone: string, load: LoadSource, nowUs: () => number): DiscoveryResult {
    const query = readQuery(json, zone)
    const startedUs = nowUs()
    const log = this.#registry.events
    const kept = this.#lookUp(query, log, startedUs)
    if (kept !== undefined) return { complete: true, cached: true, results: structuredClone(kept) }
    const late = () => query.deadlineUs !== undefined && Math.max(0, nowUs() - startedUs) >= query.deadlineUs
    const { complete, found } = this.#search(query, load, late)
    found.sort((a, b) => b.score - a.score || (a.service < b.service ? -1 : 1))
    const results = found.slice(0, query.limit)
    if (complete) this.#keep(query.key, { results: structuredClone(results), atUs: startedUs, sequence: log.last })
    return { complete, cached: false, results }
  }

  #lookUp(query: ReadQuery, log: EventLog, nowUs: number): Found[] | undefined {
    const kept = this.#kept.get(query.key)
    if (kept === undefined || nowUs - kept.atUs > LIFE_US || log.gapAfter(kept.sequence)) return undefined
    for (const event of log.iterateSince(kept.sequence))
      if ('service' in event && isTouchedBy(query, event.service)) return undefined
    kept.sequence = log.last
    return kept.results
  }

  #keep(key: string, kept: Kept): void {
    this.#kept.delete(key)
    if (this.#kept.size >= ENTRIES) this.#kept.delete(this.#kept.keys().next().value as string)
    this.#kept.set(key, kept)
  }

  #search(query: ReadQuery, load: LoadSource, late: () => boolean): { complete: boolean; found: Found[] } {
    const found: Found[] = []
    const names = this.#candidates(query)
    const fuzzy = query.fuzzy === undefined ? undefined : new FuzzyMatcher(query.fuzzy)
    const kind = kindOf(query)
    for (const [at, { name, service: handle }] of names.entries()) {
      if (at > 0 && at % BLOCK === 0 && late()) return { complete: false, found }
      if (query.prefix !== undefined && !name.startsWith(query.prefix)) continue
      if (fuzzy !== undefined && !fuzzy.matches(name)) continue
      let match = fuzzy?.similarity(name) ?? 1
      if (query.prefix !== undefined) match = Math.min(match, 0.6 + 0.4 * (query.prefix.length / name.length))
      const service = this.#registry.service(handle)
      const why = service && rank(service, query, load, match, kind)
      if (why !== undefined) found.push({ service: name, score: scoreOf(why), why })
    }
    return { complete: true, found }
  }

  #candidates(query: ReadQuery): { readonly name: string; readonly service: Handle }[] {
    if (query.name !== undefined) {
      const service = this.#registry.find(query.name)
      return service === undefined ? [] : [{ name: query.name, service }]
    }
    if (this.#namesEpoch !== this.#registry.namesEpoch) {
      this.#namesEpoch = this.#registry.namesEpoch
      this.#names = this.#registry.servicesByName().map(({ name, handle }) => ({ name, service: handle }))
    }
    if (query.prefix === undefined) return this.#names
    const { prefix } = query
    const from = this.#firstAt((name) => name >= prefix)
    const to = this.#firstAt((name) => name >= prefix && !name.startsWith(prefix))
    return this.#names.slice(from, to)
  }

  /** Index of the first name for which `holds`, which holds for all after it. */
  #firstAt(holds: (name: string) => boolean): number {
    let [low, high] = [0, this.#names.length]
    while (low < high) {
      const middle = (low + high) >>> 1
      if (holds(this.#names[middle]?.name ?? '')) high = middle
      else low = middle + 1
    }
    return low
  }
}

function kindOf(query: ReadQuery): Why['kind'] {
  if (query.name !== undefined) return 'exact'
  if (query.prefix !== undefined) return 'prefix'
  if (query.fuzzy !== undefined) return 'fuzzy'
  const { all, any, none } = query.tags
  return all.length + any.length + none.length > 0 ? 'tags' : 'all'
}
