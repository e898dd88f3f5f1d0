/** Some fields of a policy over all of another's. */

/** The fields of `patch` over those of `base`, groups of fields (`breaker`, `retry`) alike. */
export function merged(base: object, patch: object): object {
  const result: Record<string, unknown> = { ...base }
  for (const [field, value] of Object.entries(patch)) {
    if (value === undefined) continue
    const before = result[field]
    const isGroup = (one: unknown): one is object => typeof one === 'object' && one !== null && !Array.isArray(one)
    result[field] = isGroup(before) && isGroup(value) ? merged(before, value) : value
  }
  return result
}
