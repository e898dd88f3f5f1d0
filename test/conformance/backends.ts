/** Both implementations of the contract, for cases that must hold on each. */
import { describe, it } from 'vitest'
import type { Binding, ErrorData, MetricFormat } from '../../ts/binding/contract.js'
import { createFallback } from '../../ts/binding/fallback/index.js'
import { loadNative } from '../../ts/binding/native.js'

export interface NativeBackend {
  readonly binding: Binding
  readonly file: string
}

function tryNative(): NativeBackend | string {
  if (process.env.LINKMESH_BACKEND === 'fallback') return 'LINKMESH_BACKEND=fallback'
  try {
    return loadNative()
  } catch (error) {
    if (process.env.LINKMESH_BACKEND === 'native') throw error
    return (error as Error).message.split(':')[0] ?? 'it does not load'
  }
}

const found = tryNative()

/** The addon, or `undefined`; then {@link nativeMissing} says why. */
export const native: NativeBackend | undefined = typeof found === 'string' ? undefined : found
export const nativeMissing: string | undefined = typeof found === 'string' ? found : undefined

/** Runs the same cases on each backend; counts those of a missing addon as skipped, with the reason in their name. */
export function onBothBackends(room: string, cases: (binding: () => Binding) => void): void {
  const fallback = createFallback()
  describe.each([
    { backend: 'fallback', binding: fallback },
    { backend: 'native', binding: native?.binding },
  ])(`${room} on $backend`, ({ binding }) => {
    describe.skipIf(binding === undefined)(
      binding === undefined ? `no native addon (${nativeMissing})` : 'loaded',
      () => {
        cases(() => binding as Binding)
      },
    )
  })
}

/** Runs only where both are there. */
export function onBothTogether(what: string, cases: (pair: { native: Binding; fallback: Binding }) => void): void {
  onNative(what, ({ binding }) => cases({ native: binding, fallback: createFallback() }))
}

/** Runs only on the addon; counted as skipped, with the reason, where it is missing. */
export function onNative(what: string, cases: (native: NativeBackend) => void): void {
  if (native === undefined) it.skip(`${what}: no native addon (${nativeMissing})`, () => undefined)
  else describe(what, () => cases(native))
}

/** A scrape as text. */
export async function rendered(binding: Binding, mesh: number, format: MetricFormat): Promise<string> {
  return new TextDecoder('utf-8', { fatal: true }).decode(await binding.metricsRender(mesh, format))
}

/** What the last refusal left behind, without its words: those are for people and may differ. */
export function refusal(binding: Binding): Omit<ErrorData, 'message' | 'place'> | undefined {
  const text = binding.lastError()
  if (text === '') return undefined
  const { status, field, limit } = JSON.parse(text) as ErrorData
  return { status, ...(field === undefined ? {} : { field }), ...(limit === undefined ? {} : { limit }) }
}
