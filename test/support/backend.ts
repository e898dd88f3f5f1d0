/** Whether the chosen backend can open a mesh at all in this build; tests of meshes are skipped with the reason if not. */
import { describe as always } from 'vitest'
import { loadBinding } from '../../ts/binding/index.js'

function look(): string {
  const { binding } = loadBinding()
  const handle = binding.meshOpen('{"name":"support-backend"}')
  if (handle < 0) return binding.lastError()
  binding.meshClose(handle)
  return ''
}

/** Why tests of meshes are skipped; empty when they run. */
export const NO_MESH = look()

export const describe: typeof always = (NO_MESH === '' ? always : always.skip) as typeof always
