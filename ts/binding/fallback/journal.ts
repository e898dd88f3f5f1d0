/** Dead letters and audit trail of the contract, on the fallback: in memory, and only there. */
import { type Binding, type Handle, Status } from '../contract.js'
import type { JournalBinding, JournalOpened, JournalOptions, JournalRequest } from '../contract-journal.js'
import { type Edge, exceeded, Failure, invalid } from './edge.js'
import { AuditMemory } from './journal-audit.js'
import { LetterMemory } from './journal-letters.js'
import { Slots } from './slots.js'

/** What is kept in a room. */
export interface Room {
  /** Takes a record; its sequence. */
  append(text: string): number
  /** The answer to a question, or a thrown {@link Failure}. */
  ask(request: JournalRequest): unknown
}

interface Shared {
  room: Room
  tickets: number
  listeners: Set<() => void>
  closed: boolean
  maxRecordBytes: number
}

interface Open {
  shared: Shared
  /** Outcomes that were not asked for yet: (first ticket, count, sequence). */
  runs: [number, number, number][]
  listener: (() => void) | undefined
}

const DEFAULT_RECORD_BYTES = 1 << 20
const MAX_RECORD_BYTES = 16 << 20

function onDisk(field: string): Failure {
  const words =
    'a journal on disk needs the native addon: install the platform package (@linkmesh/<platform>-<arch>-<abi>), or build it with `npm run build`; without `data` it is kept in memory'
  return new Failure(Status.NativeRequired, words, field)
}

export function journalFunctions(edge: Edge, meshInfo: Binding['meshInfo']): JournalBinding {
  const rooms = new Map<string, Shared>()
  const journals = new Slots<Open>()
  const decoder = new TextDecoder()

  const must = (journal: Handle): Open => {
    const open = journals.get(journal)
    if (open === undefined) throw Failure.stale('journal')
    return open
  }

  const open = (mesh: Handle, kind: string, text: string): JournalOpened => {
    const info = meshInfo(mesh)
    if (info === '') throw Failure.stale('mesh')
    if (kind !== 'dead-letters' && kind !== 'audit') throw invalid('room', 'the room is dead-letters or audit')
    const options = (text === '' ? {} : JSON.parse(text)) as JournalOptions
    if (options.folder !== undefined) throw onDisk('options.folder')
    const key = `${(JSON.parse(info) as { name: string }).name}\n${kind}`
    let shared = rooms.get(key)
    const joined = shared !== undefined
    if (joined && text !== '' && options.join !== true)
      throw new Failure(Status.Conflict, 'another thread of this mesh opened it already')
    if (shared === undefined) {
      if (options.join === true) throw new Failure(Status.NotFound, 'no thread of this mesh has opened it')
      const { maxRecordBytes = DEFAULT_RECORD_BYTES } = options
      if (!(maxRecordBytes >= 1 && maxRecordBytes <= MAX_RECORD_BYTES))
        throw exceeded('maxRecordBytes', `maxRecordBytes is 1 to ${MAX_RECORD_BYTES}`, MAX_RECORD_BYTES)
      const room = kind === 'audit' ? new AuditMemory() : new LetterMemory(options.parkAfter ?? 3)
      shared = { room, tickets: 1, listeners: new Set(), closed: false, maxRecordBytes }
      rooms.set(key, shared)
    }
    const handle = journals.insert({ shared, runs: [], listener: undefined })
    if (handle === undefined) throw exceeded('journals', 'too many open journals in this thread', 2 ** 17)
    const recovery = { firstSequence: 1, lastSequence: 0, tornBytes: 0, dropped: [] }
    return { handle, joined, durable: false, maxRecordBytes: shared.maxRecordBytes, recovery }
  }

  const ask = (journal: Handle, text: string): unknown => {
    const { shared } = must(journal)
    const request = JSON.parse(text) as JournalRequest
    if (request.op !== 'close') return shared.room.ask(request)
    shared.closed = true
    for (const [key, known] of rooms) if (known === shared) rooms.delete(key)
    return null
  }

  const later = async (work: () => unknown): Promise<string> => {
    try {
      return JSON.stringify(work()) ?? 'null'
    } catch (thrown) {
      edge.refuse(thrown)
      throw new Error(edge.lastError())
    }
  }

  return {
    journalOpen: (mesh, kind, options) => later(() => open(mesh, kind, options)),
    journalClose: (journal) =>
      edge.number(() => {
        const { shared, listener } = must(journal)
        if (listener !== undefined) shared.listeners.delete(listener)
        journals.remove(journal)
        return 0
      }) as 0 | Status,
    journalAppend: (journal, bytes, lengths, count) =>
      edge.number(() => {
        const opened = must(journal)
        const { shared, runs } = opened
        if (shared.closed) throw new Failure(Status.Closed, 'the journal is closed')
        const texts: string[] = []
        let start = 0
        for (const length of lengths.subarray(0, count)) {
          if (length > shared.maxRecordBytes)
            throw exceeded('payload', `a record has at most ${shared.maxRecordBytes} bytes`, shared.maxRecordBytes)
          texts.push(decoder.decode(bytes.subarray(start, start + length)))
          start += length
        }
        if (texts.length === 0 || texts.length < count || start > bytes.length)
          throw invalid('lengths', 'the lengths do not fit the bytes')
        const first = shared.tickets
        for (const text of texts) runs.push([shared.tickets++, 1, shared.room.append(text)])
        // Told later, as the addon does: whoever appends has its ticket by then.
        queueMicrotask(() => {
          for (const listener of shared.listeners) listener()
        })
        return first
      }),
    journalAcks: (journal, out) =>
      edge.number(() => {
        const taken = must(journal).runs.splice(0, Math.floor(out.length / 3))
        taken.forEach((run, index) => {
          out.set(run, index * 3)
        })
        return taken.length
      }),
    journalOnAck: (journal, callback) =>
      edge.number(() => {
        const opened = must(journal)
        if (opened.listener !== undefined) throw new Failure(Status.Duplicate, 'there is a listener already')
        opened.listener = callback
        opened.shared.listeners.add(callback)
        return 0
      }) as 0 | Status,
    journalVerify: () =>
      later(() => {
        throw onDisk('folder')
      }),
    journalAsk: (journal, request) => later(() => ask(journal, request)),
  }
}
