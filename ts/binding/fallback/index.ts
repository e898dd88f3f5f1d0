/** The fallback backend: the whole contract in one thread, in plain TypeScript. */
import { LinkmeshError, NATIVE_HINT } from '../../errors.js'
import type { Binding } from '../contract.js'

export function createFallback(): Binding {
  throw new LinkmeshError('LM_NATIVE_REQUIRED', `the fallback is not assembled in this build; linkmesh ${NATIVE_HINT}`)
}
