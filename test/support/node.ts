/** Processes that are nodes: `test/process/fixtures/node.mjs`, one command at a time or several at once. */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { Mesh } from '../../ts/index.js'

const FILE = fileURLToPath(new URL('../process/fixtures/node.mjs', import.meta.url))
/** Longest wait for one answer. */
const ANSWER_MS = 20_000

// biome-ignore lint/suspicious/noExplicitAny: answers are whatever the fixture says
export type Answer = any

export class NodeProcess {
  readonly data: string
  readonly child: ChildProcess
  readonly ended: Promise<number | null>
  stderr = ''
  #count = 0
  readonly #waiting = new Map<number, (answer: Answer) => void>()

  /** `data`: the folder of a node that was there before; it has another one otherwise. */
  constructor(data: string = mkdtempSync(join(tmpdir(), 'linkmesh-node-'))) {
    this.data = data
    this.child = spawn(process.execPath, [FILE], { stdio: ['pipe', 'pipe', 'pipe'], env: process.env })
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text
    })
    this.ended = new Promise((resolve) => this.child.once('exit', resolve))
    createInterface({ input: this.child.stdout as NodeJS.ReadableStream }).on('line', (line) => {
      const answer = JSON.parse(line) as { id: number }
      this.#waiting.get(answer.id)?.(answer)
      this.#waiting.delete(answer.id)
    })
  }

  ask(command: string, rest: object = {}): Promise<Answer> {
    const id = ++this.#count
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Error(`no answer to ${command} within ${ANSWER_MS} ms; stderr: ${this.stderr}`)),
        ANSWER_MS,
      )
      this.#waiting.set(id, (answer) => {
        clearTimeout(timer)
        resolve(answer)
      })
      this.child.stdin?.write(`${JSON.stringify({ id, command, ...rest })}\n`)
    })
  }

  /** Ends it, at once or by itself, and removes its folder. */
  async end(signal?: NodeJS.Signals): Promise<number | null> {
    if (signal !== undefined) this.child.kill(signal)
    this.child.stdin?.end()
    const code = await this.ended
    rmSync(this.data, { recursive: true, force: true })
    return code
  }
}

/** A process with its mesh open. */
export interface Node {
  node: NodeProcess
  info: Answer
}

/** Asks again until it is so; how often that may be is the test's own time. */
export async function until(isSo: () => Promise<boolean>): Promise<void> {
  while (!(await isSo()));
}

/** Of nodes that listen and do not say otherwise: `LINKMESH_ENGINE_THREADS` runs any of these tests with several. */
function threads(options: object): object {
  const given = process.env.LINKMESH_ENGINE_THREADS
  return given === undefined || !('listen' in options) || 'relay' in options ? {} : { engineThreads: Number(given) }
}

/** A first node that serves `serve`, listening on this machine. */
export async function founder(serve: object[] = [], options: object = {}): Promise<Node> {
  const node = new NodeProcess()
  const opened = { listen: 'quic://127.0.0.1:0', data: node.data, ...options }
  const info = await node.ask('open', { options: { ...threads(opened), ...opened }, serve })
  return { node, info }
}

/** A mesh of this process, joined to `first` by an invitation. `end` closes it and kills `first`. */
export async function guest(first: Node, name: string): Promise<{ mesh: Mesh; end(): Promise<void> }> {
  const data = mkdtempSync(join(tmpdir(), `linkmesh-${name}-`))
  let mesh: Mesh | undefined
  const end = async () => {
    await mesh?.close({ graceMs: 0 })
    await first.node.end('SIGKILL')
    rmSync(data, { recursive: true, force: true })
  }
  try {
    const { token } = await first.node.ask('invite')
    mesh = await Mesh.open({
      name: `${name}-${process.pid}`,
      join: [{ address: first.info.listening, token }],
      data,
    })
    return { mesh, end }
  } catch (error) {
    await end()
    throw error
  }
}

/** One more node, joined to `first` by an invitation. */
export async function joiner(first: Node, serve: object[] = [], options: object = {}): Promise<Node> {
  const { token } = await first.node.ask('invite')
  const node = new NodeProcess()
  const opened = { join: [{ address: first.info.listening, token }], data: node.data, ...options }
  const info = await node.ask('open', { options: { ...threads(opened), ...opened }, serve })
  // What it serves is known there a moment later.
  const names = new Set(serve.map((one) => (one as { name: string }).name))
  if (info.nodeId !== undefined) await until(async () => serves(await first.node.ask('services'), info.nodeId, names))
  return { node, info }
}

function serves({ services }: Answer, nodeId: string, names: ReadonlySet<string>): boolean {
  const offered = services.filter((service: Answer) =>
    service.instances.some(({ metadata }: Answer) => metadata['linkmesh.node'] === nodeId),
  )
  const known = new Set(offered.map(({ name }: Answer) => name))
  return [...names].every((name) => known.has(name))
}
