/** `linkmesh ca`: the authority of a network, on the folder that holds its keys. */
import type { IdentityInfo } from '../binding/contract-identity.js'
import { ask, describeIdentity, type IdentityOptions, print, when } from './identity.js'

export async function init(options: IdentityOptions & { network: string; name: string }): Promise<void> {
  const info = await ask(options, { command: 'init', network: options.network, name: options.name })
  print(options, info, [
    ...describeIdentity(info),
    '',
    `The network's keys are in ${options.data}/identity/ca. Keep a copy of that folder where nobody else reads it.`,
    'Let a node in: linkmesh ca issue NAME',
  ])
}

export async function issue(name: string | undefined, options: IdentityOptions & { ttl: number }): Promise<void> {
  const token = await ask(options, { command: 'issue', name: name ?? '', ttlSeconds: options.ttl })
  print(options, token, [
    token.token,
    '',
    `Good once, until ${when(token.expires)}. Whoever has it may join: hand it over where nobody else listens.`,
    'On the other machine: linkmesh join HOST:PORT TOKEN   (HOST:PORT is where a mesh on this folder listens)',
  ])
}

export async function revoke(
  who: string,
  options: IdentityOptions & { kind: 'node' | 'certificate' | 'issuer' },
): Promise<void> {
  const result = await ask(options, { command: 'revoke', kind: options.kind, who })
  print(options, result, [
    `${options.kind} ${who} is revoked, ${result.revoked.length} in all (list ${result.sequence}).`,
    'A mesh that runs on this folder follows within a second, other nodes when they next connect to it.',
  ])
}

export async function rotate(options: IdentityOptions & { root?: 'prepare' | 'activate' | 'retire' }): Promise<void> {
  const keys = { prepare: 'prepare-root', activate: 'activate-root', retire: 'retire-roots' } as const
  const key = options.root === undefined ? 'network' : keys[options.root]
  const info = await ask(options, { command: 'rotate', key })
  const said = {
    network: 'A new network key issues from now on; certificates under the old one hold until they expire.',
    'prepare-root':
      'The next root is trusted beside the present one. Nodes learn of it when they renew, within half a day; then: linkmesh ca rotate --root activate',
    'activate-root':
      'The new root is in use, the old one still trusted. When every node has renewed, within half a day: linkmesh ca rotate --root retire',
    'retire-roots': 'The present root alone is trusted; certificates under older roots have ended.',
  }
  print(options, info, [said[key], '', ...describeIdentity(info)])
}

export async function show(options: IdentityOptions): Promise<void> {
  const info = await ask(options, { command: 'show' })
  print(options, info, [...describeIdentity(info), ...describeAuthority(info)])
}

function describeAuthority({ authority, revoked, revocationSequence }: IdentityInfo): string[] {
  const list = revoked.map(({ kind, id, at }) => `  ${kind}  ${id}  since ${when(at)}`)
  const revocations = [
    `${revoked.length} revoked${revocationSequence > 0 ? ` (list ${revocationSequence})` : ''}`,
    ...list,
  ]
  if (authority === null) return [...revocations, "the network's keys are elsewhere"]
  const nodes = authority.issued.map(
    ({ nodeId, name, notAfter, revoked }) => `  ${name}  ${nodeId}  ${revoked ? 'revoked' : `until ${when(notAfter)}`}`,
  )
  return [
    ...revocations,
    `${authority.openTokens} open tokens`,
    `${authority.issued.length} nodes were issued a certificate`,
    ...nodes,
  ]
}
