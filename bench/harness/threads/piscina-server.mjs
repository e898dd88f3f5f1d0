/** The task of piscina's worker. */
export { echo as default } from './echo.mjs'
