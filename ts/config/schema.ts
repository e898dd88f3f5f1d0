/**
 * What `linkmesh.config.{ts,mjs,js,json}` may hold.
 *
 * One zod schema is the source of the TypeScript types, of the check at start and of the published
 * JSON Schema (`linkmesh/config.schema.json`). Every object is strict: a misspelt field is refused, not ignored.
 */
import { z } from 'zod'
import type { Policy } from '../binding/contract.js'

/** Bounds of a config, in the unit of the field. */
export const CONFIG_LIMITS = {
  fileBytes: 1 << 20,
  nameLength: 64,
  services: 1_000,
  instances: 256,
  routes: 10_000,
  upstreamInstances: 4_096,
  tags: 64,
  portMax: 65_535,
  timeoutMs: 24 * 3_600_000,
  joins: 16,
  addressLength: 300,
} as const

/** Only the form: names are resolved, and addresses bound, when the node opens. */
const ADDRESS = /^quic:\/\/(\[[0-9a-fA-F:.%]+\]|[^\s:/@[\]]+):\d{1,5}$/

const milliseconds = (what: string) => z.int().min(1).max(CONFIG_LIMITS.timeoutMs).describe(`${what}, milliseconds`)
const count = (max: number, what: string) => z.int().min(0).max(max).describe(what)
const share = (what: string) => z.number().min(0).max(1).describe(`${what}, 0 to 1`)

const name = z
  .string()
  .min(1)
  .max(CONFIG_LIMITS.nameLength)
  .regex(/^[A-Za-z][A-Za-z0-9_-]*$/, 'letters, digits, _ and -, beginning with a letter')
  .describe('Letters, digits, _ and -, beginning with a letter')

const breaker = z
  .strictObject({
    enabled: z.boolean().describe('Default true'),
    consecutiveFailures: count(1_000_000, 'Opens after this many failures in a row; default 5, 0 = off'),
    errorRate: share('Opens when this share of the window failed; default 0.5'),
    minRequests: count(1_000_000, 'The rates count only with at least this many requests; default 20'),
    slowCallMs: z
      .int()
      .min(0)
      .max(3_600_000)
      .describe('A good answer that takes this long is slow, milliseconds; default 0'),
    slowCallRate: z
      .number()
      .min(0.001)
      .max(1)
      .describe('Opens when this share of the good answers in the window was slow; default 0.5'),
    windowMs: milliseconds('Sliding window; default 10,000'),
    openMs: milliseconds('First open time; default 1,000'),
    maxOpenMs: milliseconds('Longest open time; default 30,000'),
    probes: count(1_000, 'Successful probes that close it; default 3'),
    concurrentProbes: count(1_000, 'Probes allowed at once; default 1'),
    probeLeaseMs: milliseconds('A probe nobody completed frees its place after this; default 10,000'),
  })
  .partial()

const retry = z
  .strictObject({
    limit: count(16, 'Attempts after the first; default 2'),
    budget: share('Share of requests that may be retries; default 0.2'),
    minPerSecond: z.number().min(0).max(1_000_000).describe('Retries a second that are always allowed; default 5'),
    minBackoffMs: milliseconds('Shortest backoff; default 5'),
    maxBackoffMs: milliseconds('Longest backoff; default 250'),
  })
  .partial()

const balancing = z
  .strictObject({
    fullScan: z.boolean().describe('least-request and peak-ewma look at all instances instead of two; default false'),
    hashBalanceFactor: z
      .union([z.literal(0), z.int().min(100).max(1_000)])
      .describe('With a key, an instance takes at most this percentage of the mean load; default 0 = no bound'),
    slowStartMs: z.int().min(0).max(3_600_000).describe('A new instance has its full share after this; default 0'),
    panicThreshold: share('With fewer healthy instances than this, breakers and ejections are ignored; default 0'),
    zoneFirst: z.boolean().describe('Instances in the zone of this process first; default false'),
    overprovisioning: z
      .number()
      .min(1)
      .max(10)
      .describe('A tier keeps its whole load down to 1 / this share of healthy instances; default 1.4'),
    subset: z
      .array(z.string().min(1).max(64))
      .max(8)
      .describe('Instances that have all of these tags first, or alone; default none'),
    subsetFallback: z.enum(['any', 'none']).describe('Who takes what the subset cannot; default any'),
  })
  .partial()

const rateLimit = z
  .strictObject({
    perSecond: count(1_000_000, 'Requests a second to the service; default 0 = no limit'),
    burst: count(1_000_000, 'Requests at once after a pause; default 0 = perSecond'),
    keyPerSecond: count(10_000, 'Requests a second with one key; default 0 = no limit'),
    keyBurst: count(10_000, 'Requests with one key at once after a pause; default 0 = keyPerSecond'),
  })
  .partial()

const adaptiveConcurrency = z
  .strictObject({
    enabled: z.boolean().describe('The limit of each instance follows its latency; default false'),
    min: z.int().min(1).max(100_000).describe('Lowest limit; default 4'),
    max: z.int().min(1).max(1_000_000).describe('Highest limit; default 1,000'),
    initial: z.int().min(1).max(1_000_000).describe('Limit of a new instance; default 20'),
    tolerance: z
      .number()
      .min(1)
      .max(10)
      .describe('Latency up to this multiple of the base is no queueing; default 1.5'),
    windowMs: z.int().min(10).max(60_000).describe('Latency is averaged over this, milliseconds; default 100'),
  })
  .partial()

const outlier = z
  .strictObject({
    enabled: z.boolean().describe('An instance that differs from its peers is kept out for a while; default false'),
    intervalMs: z.int().min(10).max(3_600_000).describe('Peers are compared this often, milliseconds; default 1,000'),
    consecutiveFailures: count(1_000, 'Kept out after this many failures in a row; default 5, 0 = off'),
    minRequests: z.int().min(1).max(1_000_000).describe('Fewer requests in the interval say nothing; default 20'),
    minInstances: z.int().min(2).max(1_000).describe('Fewer instances are not compared; default 3'),
    successRateDeviations: z
      .number()
      .min(0)
      .max(10)
      .describe('Kept out when its success rate is this many deviations below the mean; default 1.9, 0 = off'),
    failureRate: share('Kept out when this share of its requests failed; default 0.85, 0 = off'),
    latencyFactor: z
      .number()
      .min(0)
      .max(1_000)
      .describe('Kept out when its latency is this many times the median; default 0 = off'),
    ejectionMs: z.int().min(1).max(3_600_000).describe('Time out, growing by as much each time; default 5,000'),
    maxEjectionMs: z.int().min(1).max(3_600_000).describe('Longest time out, milliseconds; default 300,000'),
    maxEjected: share('At most this share of the instances is out, one at least; default 0.3'),
  })
  .partial()

const idempotency = z
  .strictObject({
    ttlMs: z.int().min(1).max(86_400_000).describe('A result is remembered for this long; default 300,000'),
    maxEntries: z.int().min(1).max(1_000_000).describe('Keys that are remembered; default 10,000'),
    maxBytes: z
      .int()
      .min(1_024)
      .max(1 << 30)
      .describe('Bytes of all results and their keys; default 16 MiB'),
  })
  .partial()

const qosClass = z.enum(['best-effort', 'high-throughput', 'low-latency', 'high-reliability', 'critical'])

const qos = z
  .strictObject({
    class: qosClass.describe('Class of requests that name none; default best-effort'),
    shares: z
      .partialRecord(qosClass, z.number().min(0.001).max(1))
      .describe('Share of the concurrency up to which a class is let in, the rest kept for the others; default 1'),
  })
  .partial()

const watermarks = z
  .strictObject({
    high: z
      .number()
      .min(0.001)
      .max(1)
      .describe('Share of queueLimit at which the queue says that it fills; default 0.8'),
    low: share('Share of queueLimit at which it says that it is empty enough again; default 0.5'),
  })
  .partial()

const hedge = z
  .strictObject({
    enabled: z.boolean().describe('A slow low-latency or critical request goes to a second instance; default false'),
    budget: share('Hedges per request; default 0.05'),
    minSamples: z.int().min(10).max(1_000_000).describe('Latencies that must be known first; default 100'),
  })
  .partial()

const policy = z
  .strictObject({
    balancer: z
      .enum([
        'round-robin',
        'weighted',
        'least-request',
        'peak-ewma',
        'random',
        'adaptive',
        'consistent-hash',
        'maglev',
        'rendezvous',
      ])
      .describe('Default least-request'),
    balancing,
    timeoutMs: milliseconds('Deadline of a request; default 5,000'),
    concurrency: count(1_000_000, 'Requests in flight per instance; default 256, 0 = no limit'),
    queueLimit: count(1_000_000, 'Requests that may wait when every instance is at its limit; default 1,024'),
    backpressure: z
      .enum(['reject', 'delay', 'drop-oldest', 'shed-lowest'])
      .describe('What becomes of a request when every instance is at its limit; default delay'),
    watermarks,
    qos,
    hedge,
    rateLimit,
    adaptiveConcurrency,
    outlier,
    breaker,
    retry,
    ordering: z.enum(['none', 'key']).describe('key: requests with one key come one after the other; default none'),
    idempotency,
    rejectedMs: milliseconds('How long an instance that refused is left alone; default 250'),
    ticketLeaseMs: milliseconds('A ticket nobody completed is closed after this; default 60,000'),
  })
  .partial()
  .describe('How requests to a service are balanced, limited, retried and broken off')

const service = z.strictObject({
  module: z
    .string()
    .min(1)
    .max(4_096)
    .describe('File whose default export is defineService({…}) or a plain object of handlers; relative to this file'),
  instances: z.int().min(1).max(CONFIG_LIMITS.instances).default(1).describe('Copies of the service; default 1'),
  version: z.string().max(64).describe('Semantic version the instances report').optional(),
  tags: z.array(z.string().min(1).max(64)).max(CONFIG_LIMITS.tags).optional(),
  policy: policy.optional(),
  handlers: z
    .record(name, z.strictObject({ policy: policy.optional() }))
    .describe('Policies of single handlers, over the policy of the service')
    .optional(),
})

const upstreamInstance = z.strictObject({
  address: z
    .url({ protocol: /^http$/, hostname: /^[^/]+$/, error: 'expected an address like http://10.0.0.7:8080' })
    .max(2_048)
    .describe('http://host:port, without a path'),
  weight: z.int().min(1).max(1_000).describe('Share of the load; default 1').optional(),
  zone: z.string().max(64).optional(),
  tags: z.array(z.string().min(1).max(64)).max(CONFIG_LIMITS.tags).optional(),
  priority: z.int().min(0).max(15).describe('Lower is used first; default 0').optional(),
  concurrency: count(1_000_000, "Overrides the policy's concurrency").optional(),
})
const upstreamList = z.array(upstreamInstance).min(1).max(CONFIG_LIMITS.upstreamInstances)
const upstream = z.union([upstreamList, z.strictObject({ instances: upstreamList, policy: policy.optional() })])

const routeOptions = {
  qos: qosClass.describe('Class of the requests; default that of the service or upstream').optional(),
  timeoutMs: milliseconds('Deadline of a request on this route; the caller may only shorten it').optional(),
  maxBodyBytes: count(1 << 30, 'Overrides limits.bodyBytes for this route').optional(),
}
const serviceRoute = z.strictObject({
  service: z.string().min(1).max(200).describe('Service and handler, `orders.get`'),
  key: z
    .string()
    .min(1)
    .max(128)
    .describe('Requests with the same value go to the same instance: a path parameter, or `header:NAME`')
    .optional(),
  body: z
    .enum(['merge', 'raw'])
    .describe('merge (default): JSON body, query and path parameters in one object; raw: the bytes as they came')
    .optional(),
  idempotency: z
    .enum(['accept', 'require', 'ignore'])
    .describe('Field Idempotency-Key of POST and PATCH: accept (default), require (400 without it) or ignore')
    .optional(),
  contentType: z.string().max(200).describe('Content type of a reply that is bytes or text').optional(),
  ...routeOptions,
})
const upstreamRoute = z.strictObject({
  upstream: z.string().min(1).max(200).describe('Name of an upstream: the request is forwarded as it is'),
  ...routeOptions,
})
const route = z.union([z.string().min(1).max(200), serviceRoute, upstreamRoute])

const limits = z
  .strictObject({
    bodyBytes: count(1 << 30, 'Largest request body; default 1 MiB'),
    headerBytes: z
      .int()
      .min(1_024)
      .max(1 << 20)
      .describe('All headers of a request, bytes; default 16 KiB'),
    targetBytes: z.int().min(64).max(65_536).describe('Path and query, bytes; default 8 KiB'),
    connections: z.int().min(1).max(1_000_000).describe('Open sockets; default 10,000'),
    connectionsPerClient: z.int().min(1).max(1_000_000).describe('Open sockets of one client address; default 1,000'),
    inFlight: z.int().min(1).max(1_000_000).describe('Requests being answered at once, then 429; default 10,000'),
    headersTimeoutMs: milliseconds('Time to send all headers; default 10,000'),
    requestTimeoutMs: milliseconds('Time to send the whole request; default 30,000'),
    keepAliveTimeoutMs: milliseconds('An idle connection is closed after this; default 65,000'),
    requestsPerConnection: count(1_000_000_000, 'Requests on one connection, then it is closed; default 0 = any'),
  })
  .partial()

const gateway = z.strictObject({
  host: z.string().min(1).max(255).default('127.0.0.1').describe('Address to listen on; default 127.0.0.1'),
  port: z.int().min(0).max(CONFIG_LIMITS.portMax).default(8080).describe('0 = any free port; default 8080'),
  routes: z
    .record(z.string().min(1).max(2_048), route)
    .describe('`GET /orders/:id`: `orders.get`. Captures: `:name`, `{name}`, a trailing `*` or `**`'),
  timeoutMs: milliseconds('Deadline of a request whose route and caller name none; default 5,000').optional(),
  limits: limits.optional(),
  graceMs: milliseconds('Time in-flight requests get at shutdown; default 10,000').optional(),
})

const load = z.strictObject({
  module: z.string().min(1).max(4_096).describe('File whose default export is defineLoad({…}); relative to this file'),
  rate: z.number().min(0.1).max(1_000_000).describe('Requests a second; default 1,000').optional(),
  requests: z.int().min(1).max(1_000_000_000).describe('Requests of a `--once` run; default 20,000').optional(),
})

const reload = z.strictObject({
  watch: z.boolean().describe('Reload when the file changes; default true').optional(),
  watchMs: z
    .int()
    .min(100)
    .max(3_600_000)
    .describe('How long errors and latency are watched after a reload; default 10,000')
    .optional(),
  minRequests: z.int().min(1).max(1_000_000).describe('Requests before anything is judged; default 50').optional(),
  errorIncrease: z
    .number()
    .min(0)
    .max(1)
    .describe('Rolls back when the share of failed requests grows by more than this; default 0.02')
    .optional(),
  latencyFactor: z
    .number()
    .min(1)
    .max(1_000)
    .describe('Rolls back when the p99 latency grows by more than this factor; default 3')
    .optional(),
})

/** The whole config. Checks between fields are in `check.ts`. */
export const configSchema = z.strictObject({
  $schema: z.string().max(2_048).optional(),
  name: name.default('linkmesh'),
  seed: z.int().min(0).max(0xffff_ffff).describe('Seed of every random choice of the router').optional(),
  listen: z
    .string()
    .max(CONFIG_LIMITS.addressLength)
    .regex(ADDRESS, 'quic://host:port, an IPv6 host in brackets')
    .describe('Makes this process a node that others reach: quic://0.0.0.0:7443; port 0 for any')
    .optional(),
  join: z
    .array(
      z.strictObject({
        address: z
          .string()
          .max(CONFIG_LIMITS.addressLength)
          .regex(ADDRESS, 'quic://host:port, an IPv6 host in brackets')
          .describe('What the other side listens on: quic://10.0.0.7:7443'),
        token: z
          .string()
          .min(1)
          .max(65_536)
          .describe(
            'One-time token, for the first time only; better taken by `linkmesh join`, which stores an identity',
          )
          .optional(),
      }),
    )
    .max(CONFIG_LIMITS.joins)
    .describe('Nodes to reach and keep: their services are called like those here')
    .optional(),
  workers: z
    .int()
    .min(1)
    .max(1_024)
    .describe('Worker threads the instances are spread over; default one per instance')
    .optional(),
  policy: policy.describe('Default policy of every service').optional(),
  services: z.record(name, service).default({}),
  upstreams: z.record(name, upstream).default({}),
  gateway: gateway.optional(),
  load: load.optional(),
  reload: reload.describe('Changes of this file while it runs').optional(),
})

/** A config as it is written. */
export type ConfigInput = z.input<typeof configSchema>
/** A config after the check, defaults filled in. */
export type Config = z.output<typeof configSchema>
export type GatewayConfig = NonNullable<Config['gateway']>
export type RouteConfig = z.output<typeof route>
export type ServiceConfig = z.output<typeof service>
export type UpstreamConfig = z.output<typeof upstreamList>
export type GatewayLimitsConfig = z.output<typeof limits>
/** A policy as zod sees it: the contract's {@link Policy} with `undefined` allowed in each field. */
export type PolicyConfig = z.output<typeof policy>

/** JSON Schema (2020-12) of a config file, for editors and for other languages. */
export function configJsonSchema(): Record<string, unknown> {
  const schema = z.toJSONSchema(configSchema, { io: 'input', target: 'draft-2020-12' })
  return { ...schema, title: 'linkmesh config' }
}

/** Copies a checked policy without the fields that are `undefined`, over the ones in `base`. */
export function mergePolicies(...layers: readonly (PolicyConfig | undefined)[]): Policy {
  const merged: Record<string, unknown> = {}
  for (const layer of layers) {
    for (const [field, value] of Object.entries(layer ?? {})) {
      if (value === undefined) continue
      const below = merged[field]
      merged[field] = typeof value === 'object' ? { ...(below as object | undefined), ...value } : value
    }
  }
  return merged as Policy
}
