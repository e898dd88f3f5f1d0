/** From any value to a checked {@link Config}: the schema first, then what only holds between fields. */
import { parseRouteKey } from '../adapters/http/route-key.js'
import { ConfigError, type ConfigProblem, fieldPath, problemsOf, prototypeFields } from './problem.js'
import { CONFIG_LIMITS, type Config, configSchema } from './schema.js'

/**
 * Checks a config.
 *
 * @param source named in the message: the file, or what the caller calls it
 * @throws ConfigError (`LM_CONFIG`) with the path of each wrong field
 */
export function parseConfig(input: unknown, source = 'The config'): Config {
  const refused = prototypeFields(input)
  if (refused.length > 0) throw new ConfigError(source, refused)
  const parsed = configSchema.safeParse(input)
  if (!parsed.success) throw new ConfigError(source, problemsOf(parsed.error, input))
  const problems = [...countProblems(parsed.data), ...routeProblems(parsed.data), ...nameProblems(parsed.data)]
  if (problems.length > 0) throw new ConfigError(source, problems)
  return parsed.data
}

function countProblems(config: Config): ConfigProblem[] {
  const problems: ConfigProblem[] = []
  const bound = (path: string, size: number, limit: number) => {
    if (size > limit) problems.push({ path, message: `at most ${limit} entries; found ${size}` })
  }
  bound('services', Object.keys(config.services).length, CONFIG_LIMITS.services)
  bound('upstreams', Object.keys(config.upstreams).length, CONFIG_LIMITS.services)
  bound('gateway.routes', Object.keys(config.gateway?.routes ?? {}).length, CONFIG_LIMITS.routes)
  return problems
}

function nameProblems(config: Config): ConfigProblem[] {
  const problems: ConfigProblem[] = []
  for (const name of Object.keys(config.upstreams))
    if (Object.hasOwn(config.services, name))
      problems.push({
        path: fieldPath(['upstreams', name]),
        message: 'a service has this name too; rename one of them',
      })
  for (const [name, upstream] of Object.entries(config.upstreams)) {
    const seen = new Set<string>()
    const instances = Array.isArray(upstream) ? upstream : upstream.instances
    for (const [index, { address }] of instances.entries()) {
      const path = ['upstreams', name, ...(Array.isArray(upstream) ? [] : ['instances']), index, 'address']
      const url = new URL(address)
      if (url.pathname !== '/' || url.search || url.hash || url.username || url.password)
        problems.push({ path: fieldPath(path), message: `only http://host:port; found ${JSON.stringify(address)}` })
      if (seen.has(url.host))
        problems.push({ path: fieldPath(path), message: `${url.host} is listed twice; use weight` })
      seen.add(url.host)
    }
  }
  return problems
}

function routeProblems(config: Config): ConfigProblem[] {
  const problems: ConfigProblem[] = []
  // Services of other nodes are known when those are.
  const isNode = config.listen !== undefined || config.join !== undefined
  for (const [key, route] of Object.entries(config.gateway?.routes ?? {})) {
    const path = fieldPath(['gateway', 'routes', key])
    const wrong = parseRouteKey(key)
    if (typeof wrong === 'string') problems.push({ path, message: wrong })
    const target = typeof route === 'string' ? route : 'service' in route ? route.service : route.upstream
    const wantsUpstream = typeof route === 'object' && 'upstream' in route
    if (Object.hasOwn(config.upstreams, target)) {
      if (typeof route === 'object' && 'service' in route)
        problems.push({ path, message: `${target} is an upstream; write { upstream: '${target}' }` })
      continue
    }
    const service = target.split('.', 1)[0] ?? target
    if (isNode && !wantsUpstream && !Object.hasOwn(config.services, service)) continue
    if (wantsUpstream || !Object.hasOwn(config.services, service)) {
      const known = [...Object.keys(config.services).map((s) => `${s}.*`), ...Object.keys(config.upstreams)]
      const kind = wantsUpstream ? 'upstream' : 'service or upstream'
      problems.push({ path, message: `no ${kind} ${JSON.stringify(target)}; there are: ${known.join(', ') || 'none'}` })
    } else if (!/^[^.]+\.[^.]+$/.test(target)) {
      problems.push({ path, message: `name the handler too, \`${service}.get\`; found ${JSON.stringify(target)}` })
    }
  }
  return problems
}
