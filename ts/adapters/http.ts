/**
 * `linkmesh/http`: an HTTP gateway in front of a mesh.
 *
 * Routes requests to services (JSON in, JSON out) and to upstreams by address (forwarded as they are), on Node's own
 * `http`. Deliberately absent: TLS, HTTP/2, authentication, static files; a proxy in front or a handler behind does those.
 */
export { Gateway, type GatewayChange, startGateway } from './http/gateway.js'
export {
  GATEWAY_LIMITS,
  type GatewayAnswer,
  type GatewayLimits,
  type GatewayOptions,
  type GatewayRoute,
  type ServiceRoute,
  type UpstreamRoute,
} from './http/options.js'
export { HttpProblem, type ProblemExtras } from './http/problem.js'
export { type HttpReply, httpReply } from './http/reply.js'
