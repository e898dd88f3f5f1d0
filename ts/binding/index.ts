/** Chooses the backend once per thread. `LINKMESH_BACKEND=native|fallback` forces one. */
import { LinkmeshError } from '../errors.js'
import type { Binding } from './contract.js'
import { createFallback } from './fallback/index.js'
import { loadNative } from './native.js'

/** Which implementation runs, and why. */
export interface Backend {
  kind: 'native' | 'fallback'
  /** For people: the loaded file, or what stopped it from loading. */
  reason: string
}

export interface LoadedBinding {
  binding: Binding
  backend: Readonly<Backend>
}

let loaded: LoadedBinding | undefined

/** The binding of this thread. Throws `LM_NATIVE_REQUIRED` when native was forced and does not load. */
export function loadBinding(): LoadedBinding {
  loaded ??= choose(process.env.LINKMESH_BACKEND)
  return loaded
}

/** Without the cache: what {@link loadBinding} would choose for this setting. */
export function choose(forced: string | undefined): LoadedBinding {
  if (forced !== undefined && forced !== '' && forced !== 'native' && forced !== 'fallback') {
    throw new LinkmeshError(
      'LM_INVALID_ARGUMENT',
      `LINKMESH_BACKEND is ${JSON.stringify(forced)}; it may be native or fallback`,
      {
        field: 'LINKMESH_BACKEND',
      },
    )
  }
  if (forced === 'fallback') {
    return { binding: createFallback(), backend: { kind: 'fallback', reason: 'forced by LINKMESH_BACKEND=fallback' } }
  }
  try {
    const { binding, file } = loadNative()
    return { binding, backend: { kind: 'native', reason: `loaded ${file}` } }
  } catch (error) {
    if (forced === 'native') throw error
    return { binding: createFallback(), backend: { kind: 'fallback', reason: (error as Error).message } }
  }
}
