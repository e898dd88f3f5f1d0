/** Asks the gateway of a running `linkmesh up`. */
import { UsageError } from './output.js'

/** No gateway at that address. */
export class NothingAnswers extends Error {}

const TIMEOUT_MS = 10_000

/** JSON of an endpoint. Rejects with what to do when nothing answers there. */
export async function askGateway(url: string, path: string): Promise<unknown> {
  let response: Response
  try {
    response = await fetch(new URL(path, url), { signal: AbortSignal.timeout(TIMEOUT_MS) })
  } catch (cause) {
    throw new NothingAnswers(`nothing answers at ${url}; start \`linkmesh up\`, or name its gateway with --url`, {
      cause,
    })
  }
  const text = await response.text()
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new Error(`${url} answers, but not as a linkmesh gateway (${response.status}); check --url`)
  }
  if (response.ok) return value
  const { detail } = value as { detail?: unknown }
  const message = typeof detail === 'string' ? detail : `${url} answered ${response.status}`
  throw response.status < 500 ? new UsageError(message) : new Error(message)
}
