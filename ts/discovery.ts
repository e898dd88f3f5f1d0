/** Finding services by name, by a part of it, by something like it, or by tags. */
import type { DiscoveryQuery, DiscoveryResult } from './binding/contract.js'
import { checkFields, checkInteger, checkRecord, checkTimeout, invalid, shown } from './mesh/checks.js'
import type { Core } from './mesh/core.js'

export type { DiscoveryQuery, DiscoveryResult } from './binding/contract.js'

const FIELDS = new Set(['name', 'prefix', 'fuzzy', 'tags', 'limit', 'deadlineMs', 'zone'])
const TAG_FIELDS = new Set(['all', 'any', 'none'])

/** Checks the query and asks the registry. Ranking is documented in `crates/registry`, module `discovery`. */
export function discover(core: Core, query: DiscoveryQuery): DiscoveryResult {
  checkFields(checkRecord(query, 'query'), FIELDS, 'query')
  for (const field of ['name', 'prefix', 'fuzzy', 'zone'] as const) {
    if (query[field] !== undefined && typeof query[field] !== 'string') {
      throw invalid(`query.${field}`, `query.${field} must be a string, not ${shown(query[field])}`)
    }
  }
  if (query.limit !== undefined) checkInteger(query.limit, 'query.limit', 1, 1_000)
  if (query.deadlineMs !== undefined) checkTimeout(query.deadlineMs, 'query.deadlineMs')
  if (query.tags !== undefined) {
    checkFields(checkRecord(query.tags, 'query.tags'), TAG_FIELDS, 'query.tags')
    for (const [field, tags] of Object.entries(query.tags)) {
      if (!Array.isArray(tags) || !tags.every((tag) => typeof tag === 'string')) {
        throw invalid(`query.tags.${field}`, `query.tags.${field} must be an array of strings`)
      }
    }
  }
  const text = core.binding.discover(core.handle, JSON.stringify(query))
  if (text === '') throw core.error(lastStatus(core), 'discover')
  return JSON.parse(text) as DiscoveryResult
}

function lastStatus(core: Core): number {
  const text = core.binding.lastError()
  return text === '' ? -14 : (JSON.parse(text) as { status: number }).status
}
