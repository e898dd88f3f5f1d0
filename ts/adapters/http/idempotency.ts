/**
 * `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header-07): a POST or PATCH that is sent again is answered with
 * the first one's answer. The ledger of the mesh remembers, by the service; here the field is read, and what the draft
 * wants told is told: 400 for a key that is none, 409 while the first is being answered, 422 for another request.
 *
 * Keys of clients with different `Authorization` are different keys (§5 of the draft), so nobody is answered with what
 * another one was. Other methods are repeatable by themselves, and their field is not looked at.
 */
import { createHash } from 'node:crypto'
import { LinkmeshError } from '../../errors.js'
import type { Exchange } from './exchange.js'
import type { ServiceRoute } from './options.js'
import { HttpProblem } from './problem.js'

const FIELD = 'idempotency-key'
/** Characters of a key, without its quotes. */
const MAX_KEY = 255
/** Methods that the draft is about. */
const METHODS = new Set(['POST', 'PATCH'])
/** A String of RFC 9651 §3.3.3; or, as most clients send it, a bare word. */
const STRING = /^"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"$/
const WORD = /^[A-Za-z0-9!#$%&'*+.^_`|~:/=-]+$/

/** What a request with the field asks of the mesh. */
export interface IdempotentRequest {
  idempotencyKey: string
  idempotencyFingerprint: string
}

/** Requests with a key that this gateway waits for. Bounded by `limits.inFlight`, as each is one of those. */
export class KeysInFlight {
  readonly #keys = new Set<string>()

  /** Runs `ask`, unless a request with the key is under way. */
  async run<T>(service: string, { idempotencyKey }: IdempotentRequest, ask: () => Promise<T>): Promise<T> {
    const name = `${service} ${idempotencyKey}`
    if (this.#keys.has(name))
      throw new HttpProblem(409, 'LM_CONFLICT', 'A request with this idempotency key is being answered', {
        field: FIELD,
        outcome: 'not-delivered',
        headers: { 'retry-after': '1' },
      })
    this.#keys.add(name)
    try {
      return await ask()
    } catch (error) {
      if (error instanceof LinkmeshError && error.code === 'LM_CONFLICT' && error.field === 'idempotencyKey')
        throw new HttpProblem(422, error.code, 'This idempotency key was used for another request', {
          field: FIELD,
          outcome: 'not-delivered',
        })
      throw error
    } finally {
      this.#keys.delete(name)
    }
  }
}

/**
 * The key of a request and what a repeat must be alike in: method, target and body. Undefined when it has none.
 *
 * @throws HttpProblem 400 when the field is malformed, comes twice, or is missing where the route requires it
 */
export function idempotencyOf(exchange: Exchange, route: ServiceRoute, body: Buffer): IdempotentRequest | undefined {
  const { request } = exchange
  const method = request.method as string
  if (route.idempotency === 'ignore' || !METHODS.has(method)) return undefined
  const value = request.headersDistinct[FIELD]
  if (value === undefined) {
    if (route.idempotency === 'require') throw wrong(`${method} needs an idempotency-key here`)
    return undefined
  }
  const key = keyOf(value)
  const { authorization } = request.headers
  const owner = authorization === undefined ? '' : ` ${digest(authorization)}`
  const { path, query } = exchange.target
  return {
    idempotencyKey: key + owner,
    idempotencyFingerprint: digest(`${method} ${path}?${query}\n`, body),
  }
}

function keyOf(values: readonly string[]): string {
  const [value = ''] = values
  if (values.length > 1) throw wrong('idempotency-key comes twice')
  const key = STRING.exec(value)?.[1]?.replaceAll(/\\(["\\])/g, '$1') ?? (WORD.test(value) ? value : undefined)
  if (key === undefined) throw wrong('idempotency-key is no quoted string, nor a word')
  if (key.length === 0 || key.length > MAX_KEY)
    throw wrong(`idempotency-key has ${key.length} characters; 1 to ${MAX_KEY} are allowed`, MAX_KEY)
  return key
}

function digest(...parts: (string | Buffer)[]): string {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part)
  return hash.digest('base64url')
}

function wrong(detail: string, limit?: number): HttpProblem {
  return new HttpProblem(400, 'LM_INVALID_ARGUMENT', detail, {
    field: FIELD,
    outcome: 'not-delivered',
    ...(limit === undefined ? {} : { limit }),
  })
}
