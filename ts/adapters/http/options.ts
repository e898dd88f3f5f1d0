/** What a gateway is opened with, and the defaults. */
import type { QosClass } from '../../binding/contract.js'
import type { Mesh } from '../../mesh.js'

/** A route to a service of the mesh. */
export interface ServiceRoute {
  service: string
  /** Deadline, milliseconds; a caller may only shorten it. */
  timeoutMs?: number | undefined
  /** Path parameter, or `header:NAME`, whose value keeps requests on one instance. */
  key?: string | undefined
  /** Class of the requests; default the service's. */
  qos?: QosClass | undefined
  /** `merge` (default): JSON body, query and parameters in one object; `raw`: the bytes as they came. */
  body?: 'merge' | 'raw' | undefined
  /**
   * What becomes of the field `Idempotency-Key` of POST and PATCH. `accept` (default): a repeat with the same key has the
   * first one's answer, for as long as the service's policy `idempotency` says; `require`: 400 without it; `ignore`.
   */
  idempotency?: 'accept' | 'require' | 'ignore' | undefined
  /** Content type of replies that are bytes or text. */
  contentType?: string | undefined
  maxBodyBytes?: number | undefined
}

/** A route to instances by address: the request is forwarded as it is. */
export interface UpstreamRoute {
  upstream: string
  /** Class of the requests; default the upstream's. */
  qos?: QosClass | undefined
  timeoutMs?: number | undefined
  maxBodyBytes?: number | undefined
}

export type GatewayRoute = ServiceRoute | UpstreamRoute

export interface GatewayLimits {
  /** Largest request body, bytes. */
  bodyBytes: number
  /** All headers of a request, bytes. */
  headerBytes: number
  /** Path and query, bytes. */
  targetBytes: number
  /** Open sockets, and of one client address. */
  connections: number
  connectionsPerClient: number
  /** Requests being answered at once, then 429. */
  inFlight: number
  headersTimeoutMs: number
  requestTimeoutMs: number
  keepAliveTimeoutMs: number
  /** Requests on one connection; 0 = any number. */
  requestsPerConnection: number
}

export const GATEWAY_LIMITS: Readonly<GatewayLimits> = {
  bodyBytes: 1 << 20,
  headerBytes: 16 << 10,
  targetBytes: 8 << 10,
  connections: 10_000,
  connectionsPerClient: 1_000,
  inFlight: 10_000,
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 30_000,
  keepAliveTimeoutMs: 65_000,
  requestsPerConnection: 0,
}

export interface GatewayOptions {
  mesh: Mesh
  /** Routes by `METHOD /path`; a text is the name of a service. */
  routes: Readonly<Record<string, string | GatewayRoute>>
  /** Default `127.0.0.1`. */
  host?: string
  /** 0 = any free port; default 8080. */
  port?: number
  /** Deadline of a request whose route and caller name none, milliseconds; default 5,000. */
  timeoutMs?: number
  limits?: { [Name in keyof GatewayLimits]?: number | undefined }
  /** Time in-flight requests get at shutdown, milliseconds; default 10,000. */
  graceMs?: number
  /** Serves `/metrics`, `/health`, `/services` and `/explain`; default true. A route of the same path wins. */
  endpoints?: boolean
  /** Called once per request, after its reply: for logs and live views. `us` is the time inside the gateway. */
  onAnswer?: (answer: GatewayAnswer) => void
}

export interface GatewayAnswer {
  /** The service or upstream; undefined when no route matched or an endpoint answered. */
  target: string | undefined
  method: string
  path: string
  status: number
  us: number
  requestId: string
}
