/** What is asked: the contract's `DiscoveryQuery`, checked as in `crates/registry/src/discovery/query.rs`. */
import { Fields } from './registry-fields.js'
import { checkTags, checkWord, REGISTRY_LIMITS as LIMITS, tooMany } from './registry-validate.js'

/** A checked query. */
export interface ReadQuery {
  readonly name: string | undefined
  readonly prefix: string | undefined
  readonly fuzzy: string | undefined
  readonly tags: { readonly all: readonly string[]; readonly any: readonly string[]; readonly none: readonly string[] }
  readonly limit: number
  readonly zone: string
  /** Time allowed, microseconds. */
  readonly deadlineUs: number | undefined
  /** Everything but the deadline, as the key of the result cache. */
  readonly key: string
}

/** From JSON; `meshZone` is for a query that names none. */
export function readQuery(json: string, meshZone: string): ReadQuery {
  const known = ['name', 'prefix', 'fuzzy', 'tags', 'limit', 'deadlineMs', 'zone']
  const fields = Fields.parse(json, 'query', false, known)
  const name = fields.string('name')
  const prefix = fields.string('prefix')
  const fuzzy = fields.string('fuzzy')
  const lists = fields.object('tags', ['all', 'any', 'none'])
  const all = lists?.strings('all') ?? []
  const any = lists?.strings('any') ?? []
  const none = lists?.strings('none') ?? []
  const limit = fields.integer('limit', 1, 1_000) ?? 20
  const deadlineMs = fields.number('deadlineMs', 0, 60_000)
  const zone = fields.string('zone') ?? meshZone

  for (const [field, text] of Object.entries({ name, prefix, fuzzy }))
    if (text !== undefined) checkWord(field, text, 1, LIMITS.nameBytes)
  checkTags('tags.all', all)
  checkTags('tags.any', any)
  checkTags('tags.none', none)
  if (all.length + any.length + none.length > LIMITS.tags) throw tooMany('tags', LIMITS.tags, 'tags')
  checkWord('zone', zone, 0, LIMITS.zoneBytes)
  const asked = [name ?? null, prefix ?? null, fuzzy ?? null, all, any, none, limit, zone]
  return {
    name,
    prefix,
    fuzzy,
    tags: { all, any, none },
    limit,
    zone,
    deadlineUs: deadlineMs === undefined ? undefined : Math.trunc(deadlineMs * 1_000),
    key: JSON.stringify(asked),
  }
}

/** Whether a change of `service` can change the answer. */
export function isTouchedBy(query: ReadQuery, service: string): boolean {
  if (query.name !== undefined) return query.name === service
  return query.prefix === undefined || service.startsWith(query.prefix)
}
