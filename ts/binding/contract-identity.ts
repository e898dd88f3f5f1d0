/**
 * The boundary for the identity of a data folder: keys, certificates, the network's authority. Part of {@link Binding}.
 *
 * Apart from a running mesh on purpose: the command line works on the folder, and a process that runs on the same folder
 * follows within a second.
 */
export interface IdentityBinding {
  /**
   * Runs one {@link IdentityCommand} (JSON) off the JavaScript thread. Resolves to JSON of the command's result; a
   * refusal rejects with an `Error` whose message is JSON of `ErrorData`. At most 16 KiB.
   */
  identityRun(command: string): Promise<string>
}

interface OnData {
  /** Data folder; the identity is in `identity/` inside. */
  data: string
  /** Opens encrypted keys, and encrypts those that are made. */
  passphrase?: string
}

/** What may be asked; each kind beside its result. */
export type IdentityCommand = OnData &
  (
    | { command: 'init'; network: string; name: string }
    | { command: 'issue' /** '' leaves it to the node that joins. */; name: string; ttlSeconds: number }
    | { command: 'revoke'; kind: 'node' | 'certificate' | 'issuer' /** Id, or the name of a node. */; who: string }
    | { command: 'rotate'; key: 'network' | 'prepare-root' | 'activate-root' | 'retire-roots' }
    | { command: 'show' }
    | { command: 'join'; name: string; address: string; token: string; timeoutMs: number }
  )

/** Result of each command, by its name. */
export interface IdentityResults {
  init: IdentityInfo
  issue: TokenInfo
  revoke: RevocationInfo
  rotate: IdentityInfo
  show: IdentityInfo
  join: IdentityInfo
}

export interface CertificateInfo {
  name: string
  /** 32 hex digits. */
  serial: string
  /** Id of the certified FALCON-1024 key, 64 hex digits. */
  key: string
  /** Unix seconds. */
  notBefore: number
  notAfter: number
}

export interface IdentityInfo {
  /** 64 hex digits. */
  nodeId: string
  /** 64 hex digits. */
  network: string
  networkName: string
  certificate: CertificateInfo
  /** The network key that issued it. */
  issuer: CertificateInfo
  /** Where it is renewed, `host:port`; null where the network's keys are. */
  issuerAddress: string | null
  bundleSequence: number
  roots: { fingerprint: string; notAfter: number }[]
  revocationSequence: number
  revoked: { kind: 'node' | 'certificate' | 'issuer'; id: string; at: number }[]
  /** What only the holder of the network's keys knows; null elsewhere. */
  authority: {
    openTokens: number
    issued: { nodeId: string; name: string; notAfter: number; revoked: boolean }[]
  } | null
}

export interface TokenInfo {
  /** A secret: whoever has it may join once. */
  token: string
  /** The root that the joiner will insist on, 64 hex digits. */
  fingerprint: string
  /** Unix seconds. */
  expires: number
}

export interface RevocationInfo {
  sequence: number
  /** Every id that is revoked now. */
  revoked: string[]
}
