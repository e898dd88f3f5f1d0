/** What a wrong config is told: the path of each wrong field and what was expected. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { mergePolicies } from '../../ts/config/schema.js'
import { ConfigError, configJsonSchema, parseConfig } from '../../ts/config.js'
import { LinkmeshError } from '../../ts/errors.js'

function problemsOf(input: unknown): Record<string, string> {
  try {
    parseConfig(input)
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError)
    expect(error).toBeInstanceOf(LinkmeshError)
    expect((error as ConfigError).code).toBe('LM_CONFIG')
    return Object.fromEntries((error as ConfigError).problems.map(({ path, message }) => [path, message]))
  }
  return {}
}

const service = { module: './orders.ts' }

/** `npm run fuzz -- config` gives them longer than a test run does. */
const fuzzMs = Number(process.env.LINKMESH_FUZZ_SECONDS ?? 0) * 500
const runs = fuzzMs > 0 ? { numRuns: 2 ** 31 - 1, interruptAfterTimeLimit: fuzzMs } : { numRuns: 500 }

describe('a config that is right', () => {
  it('gets its defaults', () => {
    const config = parseConfig({
      services: { orders: service },
      gateway: { routes: { 'GET /orders/:id': 'orders.get' } },
    })
    expect(config.name).toBe('linkmesh')
    expect(config.services.orders?.instances).toBe(1)
    expect(config.gateway).toMatchObject({ host: '127.0.0.1', port: 8080 })
  })

  it('may be empty', () => {
    expect(parseConfig({})).toMatchObject({ services: {}, upstreams: {} })
  })

  it('makes a node of the process, or joins others', () => {
    const nodes = { listen: 'quic://[::]:7443', join: [{ address: 'quic://10.0.0.7:7443' }] }
    expect(parseConfig(nodes)).toMatchObject(nodes)
    // Whether another node has it shows when one is there.
    expect(problemsOf({ ...nodes, gateway: { routes: { 'GET /x': 'far.get' } } })).toEqual({})
    expect(Object.keys(problemsOf({ listen: 'http://0.0.0.0:7443' }))).toEqual(['listen'])
    expect(Object.keys(problemsOf({ join: [{ address: 'quic://10.0.0.7' }] }))).toEqual(['join[0].address'])
  })

  it('takes upstreams as a list or with a policy', () => {
    const instances = [{ address: 'http://10.0.0.7:8080', weight: 3 }]
    const config = parseConfig({
      upstreams: { a: instances, b: { instances, policy: { balancer: 'weighted' } } },
      gateway: { routes: { 'GET /a/**': 'a', 'ANY /b/**': { upstream: 'b', timeoutMs: 100 } } },
    })
    expect(Object.keys(config.upstreams)).toEqual(['a', 'b'])
  })
})

describe('a config that is wrong', () => {
  const cases: [string, unknown, string, RegExp][] = [
    ['a misspelt field', { gatewy: {} }, 'gatewy', /no such field/],
    ['a deep misspelt field', { services: { a: { ...service, policy: { breaker: { openMS: 1 } } } } }, 'services.a.policy.breaker.openMS', /no such field/],
    ['a wrong type', { gateway: { port: '80', routes: {} } }, 'gateway.port', /expected number.*found "80"/],
    ['NaN', { services: { a: { ...service, policy: { timeoutMs: Number.NaN } } } }, 'services.a.policy.timeoutMs', /NaN/],
    ['infinity', { services: { a: { ...service, policy: { timeoutMs: Number.POSITIVE_INFINITY } } } }, 'services.a.policy.timeoutMs', /Infinity/],
    ['a negative count', { services: { a: { ...service, instances: -1 } } }, 'services.a.instances', />=1.*found -1/],
    ['too many instances', { services: { a: { ...service, instances: 257 } } }, 'services.a.instances', /256/],
    ['a share above one', { policy: { retry: { budget: 2 } } }, 'policy.retry.budget', /<=1/],
    ['an overlong name', { services: { ['x'.repeat(65)]: service } }, `services.${'x'.repeat(65)}`, /64/],
    ['a name with a dot', { services: { 'a.b': service } }, 'services["a.b"]', /letters, digits/],
    ['a route without a method', { gateway: { routes: { '/x': 'a.b' } }, services: { a: service } }, 'gateway.routes["/x"]', /a method, a space and a path/],
    ['a route to nothing', { gateway: { routes: { 'GET /x': 'b.c' } }, services: { a: service } }, 'gateway.routes["GET /x"]', /there are: a\.\*/],
    ['a route without a handler', { gateway: { routes: { 'GET /x': 'a' } }, services: { a: service } }, 'gateway.routes["GET /x"]', /name the handler too/],
    ['a wrong field of a route', { gateway: { routes: { 'GET /x': { service: 'a.b', timeoutMS: 1 } } } }, 'gateway.routes["GET /x"].timeoutMS', /no such field/],
    ['a route of no kind', { gateway: { routes: { 'GET /x': 5 } } }, 'gateway.routes["GET /x"]', /string or object.*found 5/],
    ['an upstream with a path', { upstreams: { p: [{ address: 'http://h:1/x' }] } }, 'upstreams.p[0].address', /only http:\/\/host:port/],
    ['another protocol', { upstreams: { p: [{ address: 'ftp://h' }] } }, 'upstreams.p[0].address', /http:\/\//],
    ['a doubled upstream instance', { upstreams: { p: [{ address: 'http://h:1' }, { address: 'http://h:1' }] } }, 'upstreams.p[1].address', /listed twice/],
    ['a name used twice', { services: { a: service }, upstreams: { a: [{ address: 'http://h:1' }] } }, 'upstreams.a', /a service has this name too/],
    ['__proto__ as a service', JSON.parse('{"services":{"__proto__":{"module":"x"}}}'), 'services.__proto__', /no field may have this name/],
    ['a text', 'x', '', /expected object/],
    ['null', null, '', /expected object/],
  ] // biome-ignore format: a table
  it.each(cases)('%s', (_, input, path, message) => {
    expect(problemsOf(input)[path]).toMatch(message)
  })

  it('reports every wrong field at once, and the first by `field`', () => {
    const input = { name: '1', gateway: { port: -1, routes: {} }, seed: 'x' }
    expect(Object.keys(problemsOf(input)).sort()).toEqual(['gateway.port', 'name', 'seed'])
    expect(() => parseConfig(input, '/etc/mesh.json')).toThrow(/^\/etc\/mesh\.json is not a usable config:\n {2}/)
  })

  it(
    'never throws anything but ConfigError, whatever it is given',
    () => {
      fc.assert(
        fc.property(fc.anything({ withNullPrototype: true, withBigInt: true, withDate: true }), (input) => {
          try {
            parseConfig(input)
          } catch (error) {
            expect(error).toBeInstanceOf(ConfigError)
          }
        }),
        runs,
      )
    },
    fuzzMs + 5_000,
  )

  it(
    'never throws anything but ConfigError for a config with one field replaced',
    () => {
      const right = { name: 'x', services: { a: { module: 'm', instances: 2, policy: { retry: { limit: 1 } } } }, gateway: { port: 1, routes: { 'GET /a': { service: 'a.b' } } }, upstreams: { u: [{ address: 'http://h:1' }] } } // biome-ignore format: one value
      const paths = [['name'], ['services'], ['services', 'a'], ['services', 'a', 'policy'], ['services', 'a', 'policy', 'retry'], ['gateway'], ['gateway', 'routes'], ['gateway', 'routes', 'GET /a'], ['upstreams', 'u'], ['upstreams', 'u', '0'], ['upstreams', 'u', '0', 'address']] // biome-ignore format: one list
      fc.assert(
        fc.property(fc.constantFrom(...paths), fc.anything(), (path, value) => {
          const input = structuredClone(right)
          const last = path.at(-1) as string
          const parent = path
            .slice(0, -1)
            .reduce<Record<string, unknown>>((at, key) => at[key] as Record<string, unknown>, input)
          parent[last] = value
          try {
            parseConfig(input)
          } catch (error) {
            expect(error).toBeInstanceOf(ConfigError)
            expect((error as ConfigError).problems.length).toBeGreaterThan(0)
          }
        }),
        runs,
      )
    },
    fuzzMs + 5_000,
  )
})

describe('the published JSON Schema', () => {
  it('says the same as the check: strict objects, limits, defaults', () => {
    const schema = configJsonSchema() as {
      $schema: string
      additionalProperties: boolean
      properties: Record<string, { maximum?: number }>
    }
    expect(schema.$schema).toContain('2020-12')
    expect(schema.additionalProperties).toBe(false)
    expect(Object.keys(schema.properties)).toEqual(
      expect.arrayContaining(['name', 'gateway', 'services', 'upstreams', 'policy', 'workers', 'load']),
    )
    expect(schema.properties.workers).toMatchObject({ minimum: 1, maximum: 1024 })
    expect(JSON.parse(JSON.stringify(schema))).toEqual(schema)
  })
})

describe('policies', () => {
  it('are laid over each other field by field', () => {
    const merged = mergePolicies({ timeoutMs: 1, retry: { limit: 1, budget: 0.1 } }, undefined, {
      retry: { limit: 3 },
      queueLimit: undefined,
    })
    expect(merged).toEqual({ timeoutMs: 1, retry: { limit: 3, budget: 0.1 } })
  })
})
