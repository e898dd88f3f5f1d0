/** A service on a mesh of its own, at virtual time: what a policy does is tried there, and nothing that runs is touched. */
import { threadId } from 'node:worker_threads'
import type { Binding, Handle, Policy } from '../binding/contract.js'
import { loadBinding } from '../binding/index.js'
import { errorOfStatus } from '../errors.js'
import { shown } from '../mesh/checks.js'

let trials = 0

/**
 * Runs `work` with the service under the policy. The backend is the one that runs, so what it refuses is refused here, too.
 *
 * @throws LinkmeshError with the field of the policy, `LM_NATIVE_REQUIRED` among it
 */
export function onTrial<T>(
  service: string,
  policy: Policy,
  work: (binding: Binding, mesh: Handle, service: Handle) => T,
): T {
  const { binding } = loadBinding()
  const must = (result: number, what: string): Handle => {
    if (result < 0) throw errorOfStatus(binding, result, what)
    return result
  }
  // Names are of the process, and other threads have trials, too.
  const name = `linkmesh:trial-${threadId}-${++trials}`
  const mesh = must(binding.meshOpen(JSON.stringify({ name, seed: 1, manualClock: true })), 'a trial')
  try {
    const what = `service ${shown(service)}`
    return work(binding, mesh, must(binding.serviceDefine(mesh, service, JSON.stringify(policy)), what))
  } finally {
    binding.meshClose(mesh)
  }
}

/** Refuses a policy that this backend does not run. */
export function checkPolicy(service: string, policy: Policy): void {
  onTrial(service, policy, () => {})
}
