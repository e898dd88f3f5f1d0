/** Connections of one mesh: the rules of `crates/registry/src/connection.rs`. */
import type { ConnectionInfo, Handle } from '../contract.js'
import { invalid } from './edge.js'
import { staleHandle } from './registry.js'
import { Fields } from './registry-fields.js'
import { HandleAllocator, slotOf } from './registry-handles.js'
import { checkMetadata, checkName, checkWord, REGISTRY_LIMITS as LIMITS } from './registry-validate.js'

const STATES = ['connecting', 'open', 'closing', 'closed'] as const

/** Takes JSON as the contract does; keeps {@link ConnectionInfo}s. */
export class FallbackConnections {
  readonly #handles: HandleAllocator
  readonly #connections = new Map<Handle, ConnectionInfo>()

  constructor(limit: number = LIMITS.connections) {
    this.#handles = new HandleAllocator(limit)
  }

  /** Announces a connection; it is `connecting`. `json`: the contract's `ConnectionSpec`. */
  open(json: string, nowUs: number): Handle {
    const fields = Fields.parse(json, 'spec', false, ['protocol', 'remote', 'service', 'metadata'])
    const protocol = required('protocol', fields.string('protocol'))
    const remote = required('remote', fields.string('remote'))
    const service = fields.string('service')
    const metadata = fields.stringMap('metadata') ?? new Map<string, string>()
    checkWord('protocol', protocol, 1, 32)
    checkWord('remote', remote, 1, LIMITS.addressBytes)
    if (service !== undefined) checkName('service', service)
    checkMetadata('metadata', metadata)
    const handle = this.#handles.allocate('connections')
    this.#connections.set(handle, {
      handle,
      protocol,
      remote,
      ...(service === undefined ? {} : { service }),
      metadata: Object.fromEntries(metadata),
      state: 'connecting',
      openedMs: nowUs / 1_000,
      requests: 0,
      bytesIn: 0,
      bytesOut: 0,
    })
    return handle
  }

  /** `json`: any of `state` (not an earlier one), `requests`, `bytesIn`, `bytesOut` (totals), `metadata`. */
  update(connection: Handle, json: string): void {
    const fields = Fields.parse(json, 'patch', false, ['state', 'requests', 'bytesIn', 'bytesOut', 'metadata'])
    const word = fields.string('state')
    const state = STATES.find((known) => known === word)
    if (word !== undefined && state === undefined)
      throw invalid('state', 'state must be one of connecting, open, closing, closed')
    const requests = fields.integer('requests', 0, Number.MAX_SAFE_INTEGER)
    const bytesIn = fields.integer('bytesIn', 0, Number.MAX_SAFE_INTEGER)
    const bytesOut = fields.integer('bytesOut', 0, Number.MAX_SAFE_INTEGER)
    const metadata = fields.stringMap('metadata')
    if (metadata !== undefined) checkMetadata('metadata', metadata)
    const info = this.#get(connection)
    if (state !== undefined) {
      if (STATES.indexOf(state) < STATES.indexOf(info.state))
        throw invalid('state', 'state cannot go back to an earlier one')
      info.state = state
    }
    info.requests = requests ?? info.requests
    info.bytesIn = bytesIn ?? info.bytesIn
    info.bytesOut = bytesOut ?? info.bytesOut
    if (metadata !== undefined) info.metadata = Object.fromEntries(metadata)
  }

  close(connection: Handle): void {
    this.#get(connection)
    this.#connections.delete(connection)
    this.#handles.free(connection)
  }

  /** All of them, in slot order. */
  list(): ConnectionInfo[] {
    return [...this.#connections.values()].sort((a, b) => slotOf(a.handle) - slotOf(b.handle))
  }

  #get(connection: Handle): ConnectionInfo {
    const info = this.#connections.get(connection)
    if (info === undefined) throw staleHandle('connection')
    return info
  }
}

function required(field: string, value: string | undefined): string {
  if (value === undefined) throw invalid(field, `${field} is required`)
  return value
}
