/** The picks of one service as they are made, explained. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { Explanation } from '../binding/contract.js'
import { nowMs } from '../mesh/clock.js'
import type { PickMessage } from '../mesh/diagnostics.js'
import type { Mesh } from '../mesh.js'
import { Followed } from './events.js'

/** Shortest time between two: nobody reads faster, and explaining costs more than picking. */
const EVERY_MS = 20

/** Picks are watched only while this lives. It sees those of its own thread. */
export function followPicks(mesh: Mesh, service: string, signal?: AbortSignal): Followed<Explanation> {
  let lastMs = Number.NEGATIVE_INFINITY
  const onPick = (message: unknown): void => {
    const { service: picked, ticket } = message as PickMessage
    const now = nowMs()
    if (picked !== service || now - lastMs < EVERY_MS || mesh.closed) return
    const explanation = mesh.explain(ticket)
    if (explanation === undefined) return
    lastMs = now
    followed.push(explanation)
  }
  const followed: Followed<Explanation> = new Followed<Explanation>(
    // A sample of the picks is all it ever is: what a slow reader misses is not worth a word.
    undefined,
    () => {
      unsubscribe('linkmesh:pick', onPick)
      signal?.removeEventListener('abort', end)
    },
  )
  const end = (): void => followed.end()
  subscribe('linkmesh:pick', onPick)
  if (signal?.aborted) end()
  else signal?.addEventListener('abort', end)
  return followed
}
