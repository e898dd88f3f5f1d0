/** The helpers a config, a service module and a load profile are written with. They type; they do nothing else. */

import type { LoadProfile } from './load-profile.js'
import type { ConfigInput } from './schema.js'
import type { Handlers, ServiceModule, ServiceModuleOptions } from './service-module.js'

/** Types a config file: `export default defineConfig({ … })`. */
export function defineConfig(config: ConfigInput): ConfigInput {
  return config
}

/**
 * Types a service module: `export default defineService({ get, list }, { idempotent: ['get', 'list'] })`.
 *
 * Handler `get` of service `orders` is reached as `orders.get`.
 */
export function defineService(handlers: Handlers, options: ServiceModuleOptions = {}): ServiceModule {
  return { handlers, ...options }
}

/** Types a load profile: `export default defineLoad({ … })`. */
export function defineLoad(profile: LoadProfile): LoadProfile {
  return profile
}
