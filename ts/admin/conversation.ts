/** One client of the local socket. Whatever it does, or fails to do, concerns nobody else. */
import type { Socket } from 'node:net'
import { LinkmeshError } from '../errors.js'
import { checkName, checkRecord } from '../mesh/checks.js'
import type { Mesh } from '../mesh.js'
import { MANY, SINGLES } from './operations.js'
import { type Answer, type AnswerError, type Ask, Lines, MAX_ANSWER_BYTES, MAX_ASK_BYTES } from './protocol.js'

/** Questions of one client that are being answered. */
const UNDER_WAY = 8
/** A client that takes nothing for so long is gone. */
const STALL_MS = 10_000

export class Conversation {
  readonly #mesh: Mesh
  readonly #socket: Socket
  readonly #lines = new Lines(MAX_ASK_BYTES)
  readonly #underWay = new Map<number, AbortController>()
  #stalled: NodeJS.Timeout | undefined

  constructor(mesh: Mesh, socket: Socket) {
    this.#mesh = mesh
    this.#socket = socket
    socket.on('data', (chunk) => this.#read(chunk as Buffer))
    socket.once('close', () => {
      clearTimeout(this.#stalled)
      for (const controller of this.#underWay.values()) controller.abort()
    })
  }

  #read(chunk: Buffer): void {
    const lines = this.#lines.push(chunk)
    if (lines === undefined) {
      this.#refuse(0, new LinkmeshError('LM_LIMIT_EXCEEDED', 'the line is too long', { limit: MAX_ASK_BYTES }))
      this.#socket.destroySoon()
      return
    }
    for (const line of lines) if (line !== '') void this.#answer(line)
  }

  async #answer(line: string): Promise<void> {
    let ask: Ask
    try {
      ask = read(line)
    } catch (error) {
      this.#refuse(0, error)
      return
    }
    const { id, op } = ask
    if (op === 'cancel') this.#underWay.get(id)?.abort()
    else if (this.#underWay.has(id))
      this.#refuse(id, new LinkmeshError('LM_DUPLICATE', `question ${id} is being answered`, { field: 'id' }))
    else if (this.#underWay.size >= UNDER_WAY)
      this.#refuse(id, new LinkmeshError('LM_LIMIT_EXCEEDED', 'too many questions at once', { limit: UNDER_WAY }))
    else await this.#carryOut(ask)
  }

  async #carryOut({ id, op, args, by }: Ask): Promise<void> {
    const controller = new AbortController()
    this.#underWay.set(id, controller)
    try {
      const given = checkRecord(args ?? {}, 'args')
      const many = Object.hasOwn(MANY, op) ? MANY[op] : undefined
      if (many !== undefined) {
        for await (const item of many(this.#mesh, given, controller.signal)) {
          if (!this.#send({ id, item })) await this.#room()
        }
        this.#send({ id, end: true })
        return
      }
      const single = Object.hasOwn(SINGLES, op) ? SINGLES[op] : undefined
      if (single === undefined) {
        const known = [...Object.keys(SINGLES), ...Object.keys(MANY), 'cancel'].join(', ')
        throw new LinkmeshError('LM_INVALID_ARGUMENT', `there is no operation of that name; there are ${known}`, {
          field: 'op',
        })
      }
      const who = { by: by === undefined ? 'socket' : checkName(by, 'by') }
      const result = await single(this.#mesh, given, who, controller.signal)
      if (!this.#send({ id, result: result ?? null })) await this.#room()
    } catch (error) {
      this.#refuse(id, error)
    } finally {
      this.#underWay.delete(id)
    }
  }

  /** False when the client has to take something first. */
  #send(answer: Answer): boolean {
    if (this.#socket.destroyed) return true
    const line = `${JSON.stringify(answer)}\n`
    if (line.length > MAX_ANSWER_BYTES)
      throw new LinkmeshError('LM_LIMIT_EXCEEDED', 'the answer is too long', { limit: MAX_ANSWER_BYTES })
    return this.#socket.write(line)
  }

  /** Resolves when the client has taken what was written; one that takes nothing is let go. */
  #room(): Promise<void> {
    const socket = this.#socket
    if (socket.destroyed) return Promise.resolve()
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(this.#stalled)
        socket.off('drain', done)
        socket.off('close', done)
        resolve()
      }
      this.#stalled = setTimeout(() => socket.destroy(), STALL_MS).unref()
      socket.once('drain', done)
      socket.once('close', done)
    })
  }

  #refuse(id: number, error: unknown): void {
    this.#send({ id, error: shownError(error) })
  }
}

/** A question; throws what is wrong with it. */
function read(line: string): Ask {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch (cause) {
    throw new LinkmeshError('LM_CODEC', 'a question is one line of JSON', { cause })
  }
  const { id, op } = checkRecord(value, 'question')
  if (!Number.isInteger(id) || (id as number) < 1)
    throw new LinkmeshError('LM_INVALID_ARGUMENT', 'id must be a whole number from 1', { field: 'id' })
  if (typeof op !== 'string') throw new LinkmeshError('LM_INVALID_ARGUMENT', 'op must be a string', { field: 'op' })
  return value as Ask
}

function shownError(error: unknown): AnswerError {
  if (!(error instanceof LinkmeshError)) return { code: 'LM_INTERNAL', message: String(error) }
  const { code, message, field, limit } = error
  return {
    code,
    message,
    ...(field === undefined ? {} : { field }),
    ...(limit === undefined ? {} : { limit }),
  }
}
