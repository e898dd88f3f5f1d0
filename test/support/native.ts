/** Whether the addon is there; tests that need threads are skipped with the reason when it is not. */
import { loadNative } from '../../ts/binding/native.js'

function look(): string {
  if (process.env.LINKMESH_BACKEND === 'fallback') return 'the fallback is forced by LINKMESH_BACKEND'
  try {
    loadNative()
    return ''
  } catch (error) {
    return (error as Error).message
  }
}

/** Why native tests are skipped; empty when they run. */
export const NO_NATIVE = look()
