/**
 * `linkmesh/config`: the config file of `linkmesh up`.
 *
 * One schema gives the types, the check and the published JSON Schema. Nothing here opens a mesh or a socket.
 */
export { parseConfig } from './config/check.js'
export { defineConfig, defineLoad, defineService } from './config/define.js'
export { CONFIG_FILES, type LoadedConfig, loadConfig } from './config/load.js'
export type { LoadProfile, LoadReply, LoadRequest, LogEntry, Random } from './config/load-profile.js'
export { ConfigError, type ConfigProblem } from './config/problem.js'
export {
  CONFIG_LIMITS,
  type Config,
  type ConfigInput,
  configJsonSchema,
  type GatewayConfig,
  type RouteConfig,
  type ServiceConfig,
} from './config/schema.js'
export type { Handlers, ServiceModule, ServiceModuleOptions } from './config/service-module.js'
export type { Context, Handler } from './service.js'
