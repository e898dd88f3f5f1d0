/** What the commands `ca` and `join` share: asking the backend, and saying who is who. */
import type { IdentityCommand, IdentityInfo, IdentityResults } from '../binding/contract-identity.js'
import { loadBinding } from '../binding/index.js'
import { errorOfRejection } from '../errors.js'

/** Where the passphrase comes from: an argument would be visible to everybody on the machine. */
export const PASSPHRASE_VARIABLE = 'LINKMESH_PASSPHRASE'

/** Options of every command on an identity. */
export interface IdentityOptions {
  data: string
  json?: boolean
}

/** A command without what all of them share. */
type Asked<Name extends IdentityCommand['command']> = Omit<
  Extract<IdentityCommand, { command: Name }>,
  'data' | 'passphrase'
>

/** Runs one command on the identity of a data folder. */
export async function ask<Name extends IdentityCommand['command']>(
  options: IdentityOptions,
  asked: Asked<Name> & { command: Name },
): Promise<IdentityResults[Name]> {
  const passphrase = process.env[PASSPHRASE_VARIABLE]
  const command = { ...asked, data: options.data, ...(passphrase ? { passphrase } : {}) }
  try {
    return JSON.parse(await loadBinding().binding.identityRun(JSON.stringify(command))) as IdentityResults[Name]
  } catch (cause) {
    throw errorOfRejection(cause, options.data)
  }
}

/** Prints a result: one JSON value, or the lines. */
export function print(options: IdentityOptions, result: unknown, lines: readonly string[]): void {
  process.stdout.write(options.json ? `${JSON.stringify(result)}\n` : `${lines.join('\n')}\n`)
}

/** A second as people read it, in UTC. */
export const when = (seconds: number): string =>
  `${new Date(seconds * 1_000).toISOString().slice(0, 16).replace('T', ' ')} UTC`

/** Who this node is. */
export function describeIdentity(info: IdentityInfo): string[] {
  return [
    `node     ${info.certificate.name}  ${info.nodeId}`,
    `network  ${info.networkName}  ${info.network}`,
    `certificate until ${when(info.certificate.notAfter)}, ${
      info.issuerAddress === null ? 'renewed here' : `renewed at ${info.issuerAddress}`
    }`,
    `issued by key ${info.issuer.key}, until ${when(info.issuer.notAfter)}`,
    ...info.roots.map(({ fingerprint, notAfter }) => `root     ${fingerprint}, until ${when(notAfter)}`),
  ]
}
