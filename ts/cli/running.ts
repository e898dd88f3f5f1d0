/** Asks a running `linkmesh up`: its gateway, or, when that has none or is not named, its local socket. */
import type { AdminSession } from '../admin.js'
import { adminSession, type MeshChoice } from './admin.js'
import { askGateway, NothingAnswers } from './gateway-client.js'

/** Where to ask: an address means the gateway there, a mesh its socket, nothing whatever answers. */
export interface RunningChoice extends MeshChoice {
  url?: string
}

/** The gateway's answer, or what `bySocket` gets from the socket. */
export async function askRunning<T>(
  choice: RunningChoice,
  path: string,
  bySocket: (session: AdminSession) => Promise<T>,
): Promise<T> {
  const { url, mesh, pid, socket } = choice
  if (url === undefined && (mesh ?? pid ?? socket) !== undefined) return withSession(choice, bySocket)
  try {
    return (await askGateway(url ?? DEFAULT_URL, path)) as T
  } catch (error) {
    if (url !== undefined || !(error instanceof NothingAnswers)) throw error
    return withSession(choice, bySocket).catch(() => {
      throw error
    })
  }
}

const DEFAULT_URL = 'http://127.0.0.1:8080'

async function withSession<T>(choice: MeshChoice, work: (session: AdminSession) => Promise<T>): Promise<T> {
  const session = await adminSession(choice)
  try {
    return await work(session)
  } finally {
    session.close()
  }
}
