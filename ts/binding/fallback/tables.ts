/** The tables of the contract, on the fallback: argument checks in the addon's order, then {@link IdTable} and the others. */
import { type Binding, Status } from '../contract.js'
import { type Edge, exceeded, Failure, invalid, whole } from './edge.js'
import { ABSENT, IdTable, MAX_ENTRIES } from './id-table.js'
import { Named } from './named.js'
import { RadixArena } from './radix.js'
import { RingBuffer, ringCapacity } from './ring.js'
import { Slots } from './slots.js'
import { checkedText, isWellFormed, MAX_UNITS } from './text.js'

const MAX_NAME_BYTES = 256
const MAX_VALUE = 0xfffffffe
const MAX_TABLES = 2 ** 17

type Table = IdTable | RadixArena | RingBuffer

interface Open {
  readonly table: Table
  readonly release: () => void
}

type TableFunctions = Pick<
  Binding,
  Extract<keyof Binding, `idTable${string}` | `radix${string}` | `ring${string}` | 'tableClose'>
>

/** The functions of the contract from `idTableOpen` to `tableClose`. */
export function tableFunctions(edge: Edge): TableFunctions {
  const open = new Slots<Open>()
  const idTables = new Named<IdTable>()
  const arenas = new Named<RadixArena>()
  const rings = new Named<RingBuffer>()

  const keep = <T extends Table>(
    named: Named<T>,
    name: string | undefined,
    make: () => T,
    check?: (table: T) => void,
  ): number => {
    const table = named.open(name, make)
    const release = () => named.close(name)
    try {
      check?.(table)
      const handle = open.insert({ table, release })
      if (handle === undefined) throw exceeded('tables', 'too many open tables in this thread', MAX_TABLES)
      return handle
    } catch (refusal) {
      release()
      throw refusal
    }
  }
  const find = <T extends Table>(handle: number, type: new (...args: never[]) => T): T | undefined => {
    const table = open.get(handle)?.table
    return table instanceof type ? table : undefined
  }
  const must = <T extends Table>(handle: number, type: new (...args: never[]) => T, what = 'table'): T => {
    const table = find(handle, type)
    if (table === undefined) throw Failure.stale(what)
    return table
  }

  return {
    idTableOpen: (name, capacity) =>
      edge.number(() => {
        whole(capacity, 'capacity', MAX_ENTRIES)
        return keep(idTables, checkedName(name), () => new IdTable())
      }),
    idTableSet: (table, key, value) =>
      edge.number(() => {
        const ids = must(table, IdTable)
        const checked = whole(value, 'value', MAX_VALUE)
        ids.set(key, checked)
        return 0
      }) as 0 | Status,
    idTableDelete: (table, key) => edge.number(() => Number(must(table, IdTable).delete(key))) as 0 | 1 | Status,
    idTableGetString: (table, key) => {
      const ids = find(table, IdTable)
      if (ids === undefined) return Status.StaleHandle
      return typeof key === 'string' ? ids.getString(key) : Status.InvalidArgument
    },
    idTableGetNumber: (table, key) => {
      const ids = find(table, IdTable)
      if (ids === undefined) return Status.StaleHandle
      return Number.isSafeInteger(key) ? ids.getNumber(key) : Status.InvalidArgument
    },
    idTableGetBytes: (table, key) => {
      const ids = find(table, IdTable)
      if (ids === undefined) return Status.StaleHandle
      return key instanceof Uint8Array ? ids.getBytes(key) : Status.InvalidArgument
    },
    idTableGetManyU32: (table, keys, out) => {
      const ids = find(table, IdTable)
      if (ids === undefined) return Status.StaleHandle
      if (!(keys instanceof Uint32Array) || !hasRoom(keys, out)) return Status.InvalidArgument
      return ids.getManyU32(keys, out)
    },
    idTableGetManyU64: (table, keys, out) => {
      const ids = find(table, IdTable)
      if (ids === undefined) return Status.StaleHandle
      if (!(keys instanceof BigUint64Array) || !hasRoom(keys, out)) return Status.InvalidArgument
      return ids.getManyU64(keys, out)
    },
    idTableGetManyStrings: (table, keys, lengths, out) => {
      const ids = find(table, IdTable)
      if (ids === undefined) return Status.StaleHandle
      return eachString(keys, lengths, out, (key) => ids.getString(key))
    },
    idTableSize: (table) => edge.number(() => must(table, IdTable).size),
    idTableBytes: (table) => edge.number(() => must(table, IdTable).bytes),

    radixOpen: (name) => edge.number(() => keep(arenas, checkedName(name), () => new RadixArena())),
    radixInsert: (table, pattern, value, syntax) =>
      edge.number(() => {
        const arena = must(table, RadixArena)
        const checked = whole(value, 'value', MAX_VALUE)
        if (checkedSyntax(syntax) === 0) arena.insertPattern(pattern, checked)
        else arena.insertPrefix(pattern, checked)
        return 0
      }) as 0 | Status,
    radixDelete: (table, pattern, syntax) =>
      edge.number(() => {
        const arena = must(table, RadixArena)
        return Number(checkedSyntax(syntax) === 0 ? arena.deletePattern(pattern) : arena.deletePrefix(pattern))
      }) as 0 | 1 | Status,
    radixMatch: (table, path, spans) => {
      const arena = find(table, RadixArena)
      if (arena === undefined) return Status.StaleHandle
      if (typeof path !== 'string') return Status.InvalidArgument
      if (!isLookUp(path)) return Status.NoMatch
      return arena.match(path, spans instanceof Uint32Array ? spans : undefined)
    },
    radixMatchMany: (table, paths, lengths, out) => {
      const arena = find(table, RadixArena)
      if (arena === undefined) return Status.StaleHandle
      return eachString(paths, lengths, out, (path) => (isWellFormed(path) ? arena.match(path, undefined) : -1))
    },
    radixLongestPrefix: (table, key) => {
      const arena = find(table, RadixArena)
      if (arena === undefined) return Status.StaleHandle
      if (typeof key !== 'string') return Status.InvalidArgument
      return isLookUp(key) ? arena.longestPrefix(key) : Status.NoMatch
    },
    radixNames: (table, patternId) =>
      edge.text(() => {
        const names = must(table, RadixArena).names(patternId >>> 0)
        return names === undefined ? '' : JSON.stringify(names)
      }),
    radixSize: (table) => edge.number(() => must(table, RadixArena).size),

    ringOpen: (name, kind, capacityBytes) =>
      edge.number(() => {
        if (kind !== 0 && kind !== 1) {
          throw invalid('kind', 'the kind is 0 (one producer, one consumer) or 1 (many of both)')
        }
        const capacity = ringCapacity(capacityBytes)
        return keep(
          rings,
          checkedName(name),
          () => new RingBuffer(kind, capacity),
          (ring) => {
            if (ring.kind !== kind) throw invalid('kind', 'a ring of that name exists with the other kind')
          },
        )
      }),
    ringPush: (ring, record) => {
      const buffer = find(ring, RingBuffer)
      if (buffer === undefined) return Status.StaleHandle
      return record instanceof Uint8Array ? buffer.push(record) : Status.InvalidArgument
    },
    ringPop: (ring, out) => {
      const buffer = find(ring, RingBuffer)
      if (buffer === undefined) return Status.StaleHandle
      return out instanceof Uint8Array ? buffer.pop(out) : Status.InvalidArgument
    },
    ringLength: (ring) => edge.number(() => must(ring, RingBuffer, 'ring').length),
    tableClose: (table) =>
      edge.number(() => {
        const closed = open.remove(table)
        if (closed === undefined) throw Failure.stale('table')
        closed.release()
        return 0
      }) as 0 | Status,
  }
}

function checkedName(name: string | null | undefined): string | undefined {
  if (name === null || name === undefined) return undefined
  if (name === '') throw invalid('name', "a table's name is not empty; leave it out for a table of your own", 1)
  return checkedText(name, 'name', MAX_NAME_BYTES)
}

function checkedSyntax(syntax: number): 0 | 1 {
  if (syntax !== 0 && syntax !== 1) throw invalid('syntax', 'the syntax is 0 (pattern) or 1 (prefix)')
  return syntax
}

function isLookUp(text: string): boolean {
  return text.length <= MAX_UNITS && isWellFormed(text)
}

/** True when `out` takes one value per key and shares no byte with the keys. */
function hasRoom(keys: Uint32Array | BigUint64Array, out: Uint32Array): boolean {
  if (!(out instanceof Uint32Array) || out.length < keys.length) return false
  if (keys.buffer !== out.buffer || keys.byteLength === 0) return true
  return keys.byteOffset + keys.byteLength <= out.byteOffset || out.byteOffset + out.byteLength <= keys.byteOffset
}

/** Looks up each of the strings joined in `joined`, cut by `lengths`; values to `out`, how many were found. */
function eachString(joined: string, lengths: Uint32Array, out: Uint32Array, lookUp: (text: string) => number): number {
  if (typeof joined !== 'string' || !(lengths instanceof Uint32Array) || !hasRoom(lengths, out)) {
    return Status.InvalidArgument
  }
  let found = 0
  let start = 0
  for (let i = 0; i < lengths.length; i++) {
    const end = start + (lengths[i] as number)
    if (end > joined.length) return Status.InvalidArgument
    const value = lookUp(joined.slice(start, end))
    out[i] = value < 0 ? ABSENT : value
    if (value >= 0) found++
    start = end
  }
  return found
}
