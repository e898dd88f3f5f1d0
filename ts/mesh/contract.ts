/**
 * Contracts: the types of a set of services, shared by those who serve and those who call.
 *
 * With a validator (anything that speaks Standard Schema) requests and replies are also checked at run time, at the edge
 * of the serving side: what a handler gets has been validated, and so has what leaves it.
 */
import { LinkmeshError } from '../errors.js'
import type { Mesh } from '../mesh.js'
import type { RequestOptions, ServiceOptions, StreamOptions } from '../service.js'
import { checkRecord, invalid, shown } from './checks.js'
import type { Context } from './context.js'
import { isAsyncIterable } from './dispatcher.js'
import type { Registration } from './registration.js'
import { issuePath, type StandardSchema } from './standard-schema.js'

/** A type without a validator: {@link type}. */
export interface PlainType<T> {
  readonly '~linkmesh': 'type'
  /** Never there at run time. */
  readonly phantom?: T
}

/** Names a TypeScript type where a validator could stand: `request: type<{ sku: string }>()`. */
export function type<T>(): PlainType<T> {
  return PLAIN
}
const PLAIN: PlainType<never> = Object.freeze({ '~linkmesh': 'type' })

/** What describes a request, reply or item: any Standard Schema validator, or {@link type} for plain TypeScript. */
// biome-ignore lint/suspicious/noExplicitAny: the input and output of a schema are inferred, whatever they are
export type Shape = StandardSchema<any, any> | PlainType<any>

/** One service: a request and either one reply or a stream of items. */
export type Operation =
  | { readonly request: Shape; readonly reply: Shape }
  | { readonly request: Shape; readonly item: Shape }
export type ContractShape = Readonly<Record<string, Operation>>

/** What is put in: the caller's request, the handler's reply. */
export type InputOf<S> = S extends PlainType<infer T> ? T : S extends StandardSchema<infer I, unknown> ? I : never
/** What comes out of validation: the handler's body, the caller's reply. */
export type OutputOf<S> =
  S extends PlainType<infer T>
    ? T
    : S extends StandardSchema<never, infer O>
      ? O
      : S extends StandardSchema<infer _I, infer O>
        ? O
        : never

/** The reply of an operation, as its contract describes it. */
export type ReplyShape<O> = O extends { readonly reply: infer R } ? R : never
/** One item of an operation's stream, as its contract describes it. */
export type ItemShape<O> = O extends { readonly item: infer I } ? I : never

/** Handlers of a contract, checked at compile time. */
export type HandlersOf<C extends ContractShape> = {
  readonly [Name in keyof C]: C[Name] extends { readonly item: unknown }
    ? (
        body: OutputOf<C[Name]['request']>,
        ctx: Context,
      ) => AsyncIterable<InputOf<ItemShape<C[Name]>>> | Promise<AsyncIterable<InputOf<ItemShape<C[Name]>>>>
    : (
        body: OutputOf<C[Name]['request']>,
        ctx: Context,
      ) => InputOf<ReplyShape<C[Name]>> | Promise<InputOf<ReplyShape<C[Name]>>>
}

/** Callers of a contract: one function per service. */
export type ClientOf<C extends ContractShape> = {
  readonly [Name in keyof C]: C[Name] extends { readonly item: unknown }
    ? (
        body: InputOf<C[Name]['request']>,
        options?: StreamOptions,
      ) => AsyncIterableIterator<OutputOf<ItemShape<C[Name]>>>
    : (body: InputOf<C[Name]['request']>, options?: RequestOptions) => Promise<OutputOf<ReplyShape<C[Name]>>>
}

/** Declares a contract. Checks its form, and returns it as it is. */
export function contract<const C extends ContractShape>(shape: C): C {
  checkRecord(shape, 'contract')
  for (const [name, operation] of Object.entries(shape)) {
    checkRecord(operation, `contract.${name}`)
    const { request, reply, item } = operation as { request?: unknown; reply?: unknown; item?: unknown }
    checkShape(request, `contract.${name}.request`)
    if ((reply === undefined) === (item === undefined)) {
      throw invalid(`contract.${name}`, `contract.${name} needs either a reply or an item`)
    }
    checkShape(reply ?? item, `contract.${name}.${reply === undefined ? 'item' : 'reply'}`)
  }
  return shape
}

function checkShape(value: unknown, field: string): void {
  const shape = value as { '~standard'?: { validate?: unknown }; '~linkmesh'?: unknown } | null | undefined
  const known = (typeof shape === 'object' || typeof shape === 'function') && shape !== null
  if (known && (typeof shape['~standard']?.validate === 'function' || shape['~linkmesh'] === 'type')) return
  throw invalid(field, `${field} must be a Standard Schema validator or type<T>(), not ${shown(value)}`)
}

/** Registers every handler of the contract on this mesh. */
export function serve<C extends ContractShape>(
  mesh: Mesh,
  shape: C,
  handlers: HandlersOf<C>,
  options?: ServiceOptions,
): Registration[] {
  checkRecord(handlers, 'handlers')
  const names = Object.keys(shape)
  for (const name of names) {
    if (typeof (handlers as Record<string, unknown>)[name] !== 'function') {
      throw invalid(`handlers.${name}`, `handlers.${name} must be a function: the contract names this service`)
    }
  }
  for (const name of Object.keys(handlers)) {
    if (!Object.hasOwn(shape, name)) throw invalid(`handlers.${name}`, `the contract has no service ${shown(name)}`)
  }
  const registrations: Registration[] = []
  try {
    for (const name of names) {
      const operation = shape[name] as Operation
      const handler = handlers[name] as (body: unknown, ctx: Context) => unknown
      registrations.push(mesh.service(name, checked(name, operation, handler), options))
    }
  } catch (error) {
    // All or nothing: half a contract would answer half of its callers.
    for (const registration of registrations) registration.close()
    throw error
  }
  return registrations
}

/** Functions that call the contract's services. */
export function client<C extends ContractShape>(mesh: Mesh, shape: C): ClientOf<C> {
  // No prototype: a service named `constructor` or `then` is a service, and nothing else answers to such names.
  const functions = Object.create(null) as Record<string, unknown>
  for (const [name, operation] of Object.entries(shape)) {
    functions[name] =
      'item' in operation
        ? (body: unknown, options?: StreamOptions) => mesh.stream(name, body, options)
        : (body: unknown, options?: RequestOptions) => mesh.request(name, body, options)
  }
  return Object.freeze(functions) as ClientOf<C>
}

type AnyHandler = (body: unknown, ctx: Context) => unknown

function checked(name: string, operation: Operation, handler: AnyHandler): AnyHandler {
  const request = validator(operation.request)
  const answer = validator('item' in operation ? operation.item : operation.reply)
  if (request === undefined && answer === undefined) return handler
  return async (body, ctx) => {
    const valid =
      request === undefined
        ? body
        : await validated(request, body, `${name}: the request`, 'LM_INVALID_ARGUMENT', 'body')
    const result = await handler(valid, ctx)
    if (answer === undefined) return result
    if ('item' in operation) {
      if (!isAsyncIterable(result))
        throw new LinkmeshError('LM_INTERNAL', `${name}: the handler must return an async iterable`, {
          outcome: 'delivered',
        })
      return checkedItems(name, answer, result)
    }
    return validated(answer, result, `${name}: the reply`, 'LM_INTERNAL', 'reply')
  }
}

async function* checkedItems(
  name: string,
  schema: StandardSchema,
  items: AsyncIterable<unknown>,
): AsyncIterable<unknown> {
  for await (const item of items) yield await validated(schema, item, `${name}: an item`, 'LM_INTERNAL', 'item')
}

function validator(shape: Shape): StandardSchema | undefined {
  return '~standard' in shape ? shape : undefined
}

async function validated(
  schema: StandardSchema,
  value: unknown,
  what: string,
  code: 'LM_INVALID_ARGUMENT' | 'LM_INTERNAL',
  root: string,
): Promise<unknown> {
  const result = await schema['~standard'].validate(value)
  if (result.issues === undefined) return result.value
  const first = result.issues[0]
  const path = first === undefined ? '' : issuePath(first)
  const field = path === '' ? root : `${root}.${path}`
  throw new LinkmeshError(code, `${what} is not valid: ${field}: ${first?.message ?? 'refused by its schema'}`, {
    field,
    retryable: false,
    outcome: 'delivered',
    cause: result.issues,
  })
}
