/** `linkmesh doctor`: two nodes over QUIC on this machine. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Mesh } from '../index.js'

const ROUNDS = 100
const REPLY_TIMEOUT_MS = 5_000

/** A first node, one that joins it, requests from one to the other, and what QUIC says of the path. */
export async function nodeCheck(): Promise<string> {
  const data = mkdtempSync(join(tmpdir(), 'linkmesh-doctor-'))
  const meshes: Mesh[] = []
  const open = async (name: string, options: object) => {
    const mesh = await Mesh.open({ name: `doctor-${name}`, data: join(data, name), deadLetters: false, ...options })
    meshes.push(mesh)
    return mesh
  }
  try {
    const first = await open('first', { listen: 'quic://127.0.0.1:0' })
    first.service('doctor.far', (body: string) => body)
    const second = await open('second', { join: { address: first.listening, token: await first.invite() } })
    const text = 'far'.repeat(100)
    const started = performance.now()
    for (let round = 0; round < ROUNDS; round++) {
      const reply = await second.request<string>('doctor.far', text, { timeoutMs: REPLY_TIMEOUT_MS })
      if (reply !== text) throw new Error(`round ${round} came back changed`)
    }
    const each = ((performance.now() - started) * 1_000) / ROUNDS
    const [peer] = second.peers()
    if (peer === undefined) throw new Error('the other node is not among the peers')
    return (
      `${ROUNDS} requests to another node, ${each.toFixed(0)} µs each; round trip ${peer.rttUs.toFixed(0)} µs, ` +
      `${peer.lostPackets} of ${peer.sentPackets} packets lost, window ${peer.congestionWindow} bytes`
    )
  } finally {
    for (const mesh of meshes.reverse()) await mesh.close({ graceMs: 0 })
    rmSync(data, { recursive: true, force: true })
  }
}
