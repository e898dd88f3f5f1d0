/** What a service module's default export may be, and the check when it is loaded. */

import { LinkmeshError } from '../errors.js'
import type { Handler } from '../service.js'

export type Handlers = Record<string, Handler>

export interface ServiceModuleOptions {
  /**
   * Handlers that may run twice for one request without harm: they are retried elsewhere when an instance dies
   * with the request in its hands. `true` is all of them. Default none.
   */
  idempotent?: true | readonly string[]
}

export interface ServiceModule extends ServiceModuleOptions {
  handlers: Handlers
}

/** One handler, ready to be registered as `service.handler`. */
export interface ModuleHandler {
  name: string
  handler: Handler
  idempotent: boolean
}

const HANDLERS_MAX = 256
const NAME = /^[A-Za-z][A-Za-z0-9_-]{0,63}$/

/**
 * Handlers of a module's default export: `defineService({…})` or a plain object of functions.
 *
 * @param source the file, for messages
 * @throws LinkmeshError `LM_CONFIG` when it is neither
 */
export function readServiceModule(exported: unknown, source: string): ModuleHandler[] {
  if (typeof exported !== 'object' || exported === null)
    throw wrong(source, 'default', `export defineService({ get: handler }) as default; found ${typeof exported}`)
  const { handlers, idempotent } = isServiceModule(exported) ? exported : { handlers: exported, idempotent: undefined }
  const names = Object.keys(handlers)
  if (names.length === 0 || names.length > HANDLERS_MAX)
    throw wrong(source, 'handlers', `1 to ${HANDLERS_MAX} handlers; found ${names.length}`)
  for (const name of idempotent === true ? [] : (idempotent ?? []))
    if (!Object.hasOwn(handlers, name)) throw wrong(source, 'idempotent', `no handler ${JSON.stringify(name)}`)
  return names.map((name) => {
    const handler = (handlers as Record<string, unknown>)[name]
    if (!NAME.test(name)) throw wrong(source, name, 'a handler name is letters, digits, _ and -, at most 64')
    if (typeof handler !== 'function') throw wrong(source, name, `a handler is a function; found ${typeof handler}`)
    const safe = idempotent === true || (idempotent ?? []).includes(name)
    return { name, handler: handler as Handler, idempotent: safe }
  })
}

function isServiceModule(exported: object): exported is ServiceModule {
  return 'handlers' in exported && typeof exported.handlers === 'object' && exported.handlers !== null
}

function wrong(source: string, field: string, message: string): LinkmeshError {
  return new LinkmeshError('LM_CONFIG', `${source}: ${field}: ${message}`, { field })
}
