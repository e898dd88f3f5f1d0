/**
 * The fallback backend: the whole contract on one thread, in plain TypeScript.
 *
 * It runs where no addon loads, and it is the oracle that the addon is compared with. What may enter: the contract's
 * functions and what they need, with the addon's answers, statuses, fields and limits. Deliberately absent: anything
 * that another thread would have to see. A named table or mesh is shared within the thread.
 */
import { type Binding, SCRATCH_WORDS, Status } from '../contract.js'
import { Edge } from './edge.js'
import { journalFunctions } from './journal.js'
import { meshFunctions } from './mesh.js'
import { nodeFunctions } from './node.js'
import { tableFunctions } from './tables.js'
import { hashKey, isWellFormed, MAX_UNITS } from './text.js'
import { threadFunctions } from './threads.js'

/** Version of the package; a test holds it to package.json. */
const VERSION = '0.1.0'

/** A binding with a state of its own. */
export function createFallback(): Binding {
  const edge = new Edge()
  const scratch = new Uint32Array(SCRATCH_WORDS)
  const meshes = meshFunctions(edge, scratch)
  return {
    info: () => ({ backend: 'fallback', version: VERSION, cpu: ['scalar'], capabilities: [] }),
    lastError: () => edge.lastError(),
    scratch: () => scratch,
    selfTestPanic: () => edge.number(panicOnPurpose) as Status,
    hashKey: (key) => {
      if (typeof key !== 'string' || key.length > MAX_UNITS || !isWellFormed(key)) return Status.InvalidArgument
      return hashKey(key)
    },
    ...tableFunctions(edge),
    ...meshes,
    ...threadFunctions(edge),
    ...nodeFunctions(edge),
    ...journalFunctions(edge, meshes.meshInfo),
  }
}

function panicOnPurpose(): number {
  throw new Error('a panic on purpose, to prove that it stops at the edge')
}
