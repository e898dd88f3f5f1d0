/** Anything with pino's methods is a logger. linkmesh says nothing unless it is given one. */

export interface Logger {
  debug(fields: object, message?: string): void
  info(fields: object, message?: string): void
  warn(fields: object, message?: string): void
  error(fields: object, message?: string): void
}

const nothing = (): void => {}

/** The default. */
export const SILENT: Logger = { debug: nothing, info: nothing, warn: nothing, error: nothing }
