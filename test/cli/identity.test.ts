/** `linkmesh ca` and `linkmesh join` as a user runs them. */
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it, vi } from 'vitest'
import type { IdentityInfo, RevocationInfo, TokenInfo } from '../../ts/binding/contract-identity.js'
import { NO_NATIVE } from '../support/native.js'
import { linkmesh } from './command.js'

const place = mkdtempSync(join(tmpdir(), 'linkmesh-identity-'))
afterAll(() => rmSync(place, { recursive: true }))
vi.setConfig({ testTimeout: 120_000 })

let folders = 0
/** A data folder of its own, and the commands on it. */
function folder(env: Record<string, string> = {}) {
  const data = join(place, `data-${++folders}`)
  const run = (...args: string[]) => linkmesh([...args, '--data', data], { env })
  const ask = async <T>(...args: string[]): Promise<T> => {
    const { code, json, stderr } = await run(...args, '--json')
    expect(stderr).toBe('')
    expect(json, args.join(' ')).toHaveLength(1)
    expect(code, JSON.stringify(json[0])).toBe(0)
    return json[0] as T
  }
  const refused = async (...args: string[]) => {
    const { code, json } = await run(...args, '--json')
    expect(code).toBe(1)
    return (json[0] as { error: { code: string; message: string } }).error
  }
  return { data, run, ask, refused }
}

const TOKEN = `lmt1-${'0'.repeat(136)}`

describe.skipIf(NO_NATIVE !== '')(`with the addon ${NO_NATIVE}`, () => {
  it('makes a network whose keys are for their owner alone, once', async () => {
    const { data, run, ask, refused } = folder()
    const info = await ask<IdentityInfo>('ca', 'init', '--network', 'shop', '--name', 'ca-1')
    expect(info).toMatchObject({ networkName: 'shop', certificate: { name: 'ca-1' }, issuerAddress: null })
    expect(info.nodeId).toMatch(/^[0-9a-f]{64}$/)
    expect(info.authority?.issued).toMatchObject([{ name: 'ca-1', nodeId: info.nodeId, revoked: false }])
    const identity = join(data, 'identity')
    const modes = readdirSync(identity, { recursive: true, withFileTypes: true }).map((entry) => [
      entry.isDirectory(),
      statSync(join(entry.parentPath, entry.name)).mode & 0o777,
    ])
    expect(modes.length).toBeGreaterThan(8)
    for (const [isFolder, mode] of modes) expect(mode).toBe(isFolder ? 0o700 : 0o600)
    expect(await refused('ca', 'init')).toMatchObject({ code: 'LM_DUPLICATE' })
    const { stdout } = await run('ca', 'show')
    expect(stdout).toContain(info.nodeId)
    expect(stdout).toContain('0 revoked')
    // Whoever can read a key can be the node: the command says what is wrong and how to put it right.
    chmodSync(join(identity, 'node.key'), 0o644)
    const error = await refused('ca', 'show')
    expect(error.code).toBe('LM_DENIED')
    expect(error.message).toContain('chmod 600')
  })

  it('issues tokens, revokes and rotates', async () => {
    const { ask, refused } = folder()
    const made = await ask<IdentityInfo>('ca', 'init')
    const token = await ask<TokenInfo>('ca', 'issue', 'db-1', '--ttl', '60')
    expect(token.token).toMatch(/^lmt1-[0-9a-f]{136}$/)
    expect(token.fingerprint).toBe(made.roots[0]?.fingerprint)
    expect(Math.abs(token.expires - 60 - Date.now() / 1_000)).toBeLessThan(60)
    expect((await ask<IdentityInfo>('ca', 'show')).authority?.openTokens).toBe(1)

    const stranger = 'ab'.repeat(32)
    const revoked = await ask<RevocationInfo>('ca', 'revoke', stranger)
    expect(revoked).toEqual({ sequence: 1, revoked: [stranger] })
    expect(await refused('ca', 'revoke', 'nobody')).toMatchObject({ code: 'LM_INVALID_ARGUMENT' })
    expect((await refused('ca', 'revoke', made.nodeId)).message).toContain('itself')

    const rotated = await ask<IdentityInfo>('ca', 'rotate')
    expect(rotated.issuer.key).not.toBe(made.issuer.key)
    expect(rotated).toMatchObject({ nodeId: made.nodeId, roots: made.roots })
    const two = await ask<IdentityInfo>('ca', 'rotate', '--root', 'prepare')
    expect(two.roots).toHaveLength(2)
    expect(two.issuer.key).toBe(rotated.issuer.key)
    expect(await refused('ca', 'rotate', '--root', 'prepare')).toMatchObject({ code: 'LM_DUPLICATE' })
    await ask('ca', 'rotate', '--root', 'activate')
    const one = await ask<IdentityInfo>('ca', 'rotate', '--root', 'retire')
    expect(one.roots).toEqual([two.roots[0]])
    expect(one).toMatchObject({ nodeId: made.nodeId, network: made.network, revoked: [{ kind: 'node', id: stranger }] })
  })

  it('encrypts keys with a passphrase from the environment', async () => {
    const secret = { LINKMESH_PASSPHRASE: 'correct horse battery' }
    const { data, ask } = folder(secret)
    await ask('ca', 'init')
    await ask('ca', 'show')
    // Nothing in the file says that it is a PKCS#8 key of P-256 any more.
    const p256 = Buffer.from('06082a8648ce3d030107', 'hex')
    expect(readFileSync(join(data, 'identity/node.key')).includes(p256)).toBe(false)
    for (const LINKMESH_PASSPHRASE of ['', 'wrong']) {
      const { code, json } = await linkmesh(['ca', 'show', '--json', '--data', data], { env: { LINKMESH_PASSPHRASE } })
      expect(code).toBe(1)
      expect(json[0]).toMatchObject({ error: { code: 'LM_DENIED' } })
      expect(JSON.stringify(json[0])).toContain('passphrase')
    }
  })

  it('says what stands in the way of joining', async () => {
    const { run, refused } = folder()
    expect(await refused('join', '127.0.0.1:1', TOKEN)).toMatchObject({ code: 'LM_INVALID_ARGUMENT' })
    const { ask } = folder()
    await ask('ca', 'init')
    const { token } = await ask<TokenInfo>('ca', 'issue')
    const nobody = await refused('join', '127.0.0.1:1', token, '--timeout', '300')
    expect(nobody).toMatchObject({ code: 'LM_NODE_LOST' })
    expect(nobody.message).toContain('127.0.0.1:1')
    for (const address of ['nowhere', '127.0.0.1', 'http://a:1']) {
      const { code, stderr } = await run('join', address, token)
      expect(code).toBe(2)
      expect(stderr).toContain('host:port')
    }
    expect(await refused('ca', 'show')).toMatchObject({ code: 'LM_NOT_FOUND' })
  })
})

it('says without the addon what it needs', async () => {
  const { code, json } = await linkmesh(['ca', 'show', '--json', '--data', join(place, 'none')], {
    env: { LINKMESH_BACKEND: 'fallback' },
  })
  expect(code).toBe(1)
  expect(json[0]).toMatchObject({ error: { code: 'LM_NATIVE_REQUIRED' } })
})
