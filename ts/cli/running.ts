/** Asks a running `linkmesh up`: its gateway, or, when that has none or is not named, its local socket. */
import type { AdminSession } from '../admin.js'
import { adminSession } from './admin.js'
import { askGateway, NothingAnswers } from './gateway-client.js'

/** The gateway's answer when one answers, else what `bySocket` gets from the socket. A gateway that was named is meant. */
export async function askRunning<T>(
  url: string | undefined,
  path: string,
  bySocket: (session: AdminSession) => Promise<T>,
): Promise<T> {
  try {
    return (await askGateway(url ?? DEFAULT_URL, path)) as T
  } catch (error) {
    if (url !== undefined || !(error instanceof NothingAnswers)) throw error
    return withSession(bySocket).catch(() => {
      throw error
    })
  }
}

const DEFAULT_URL = 'http://127.0.0.1:8080'

async function withSession<T>(work: (session: AdminSession) => Promise<T>): Promise<T> {
  const session = await adminSession({})
  try {
    return await work(session)
  } finally {
    session.close()
  }
}
