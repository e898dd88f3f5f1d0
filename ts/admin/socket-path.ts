/** Where the local sockets are: one per mesh and process, in a folder that only the user can enter. */
import { createHash } from 'node:crypto'
import { lstatSync, mkdirSync, readdirSync, statSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { LinkmeshError } from '../errors.js'

/** Longest path of a Unix socket, bytes: macOS has 104, with the end mark. */
const MAX_PATH_BYTES = 103
const PIPES = '\\\\.\\pipe\\'

/** A socket that may have a mesh behind it. */
export interface SocketName {
  path: string
  pid: number
}

/** The folder of the sockets; made when `make`. Throws `LM_DENIED` when others could enter it. */
export function socketFolder(make: boolean): string {
  const runtime = process.env.XDG_RUNTIME_DIR
  const folder =
    runtime !== undefined && runtime !== '' && isFolder(runtime)
      ? join(runtime, 'linkmesh')
      : join(tmpdir(), `linkmesh-${userInfo().uid}`)
  if (make) mkdirSync(folder, { recursive: true, mode: 0o700 })
  const found = lstatSync(folder, { throwIfNoEntry: false })
  // In a folder for all, such as /tmp, somebody else may have made it first.
  if (found !== undefined && (!found.isDirectory() || found.uid !== userInfo().uid || (found.mode & 0o077) !== 0))
    throw new LinkmeshError(
      'LM_DENIED',
      `${folder} must be a folder of this user that nobody else can enter (mode 0700): remove it, or set XDG_RUNTIME_DIR`,
    )
  return folder
}

/** Path of the socket of this process's mesh. */
export function socketPath(mesh: string): string {
  const name = encodeURIComponent(mesh)
  const hashed = createHash('sha256').update(mesh).digest('hex').slice(0, 16)
  if (process.platform === 'win32') {
    const short = name.length <= 64 ? name : hashed
    return `${PIPES}${pipePrefix()}${short}-${process.pid}`
  }
  const folder = socketFolder(true)
  const path = join(folder, `${name}.${process.pid}.sock`)
  const shorter = Buffer.byteLength(path) <= MAX_PATH_BYTES ? path : join(folder, `${hashed}.${process.pid}.sock`)
  if (Buffer.byteLength(shorter) > MAX_PATH_BYTES)
    throw new LinkmeshError('LM_INVALID_ARGUMENT', `${shorter} is too long for a socket: set XDG_RUNTIME_DIR`, {
      field: 'XDG_RUNTIME_DIR',
      limit: MAX_PATH_BYTES,
    })
  return shorter
}

/** Every socket of this user, those of processes that are gone included. */
export function socketNames(): SocketName[] {
  if (process.platform === 'win32')
    return readdirSync(PIPES)
      .filter((name) => name.startsWith(pipePrefix()))
      .flatMap((name) => named(PIPES + name, /-(\d+)$/.exec(name)))
  const folder = socketFolder(false)
  if (!isFolder(folder)) return []
  return readdirSync(folder).flatMap((name) => named(join(folder, name), /\.(\d+)\.sock$/.exec(name)))
}

function named(path: string, match: RegExpExecArray | null): SocketName[] {
  return match === null ? [] : [{ path, pid: Number(match[1]) }]
}

function pipePrefix(): string {
  return `linkmesh-${encodeURIComponent(userInfo().username)}-`
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true
}
