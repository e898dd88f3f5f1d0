/** `linkmesh dlq` and `linkmesh audit` on a data folder, as they are typed. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loadBinding } from '../../ts/binding/index.js'
import { Mesh } from '../../ts/index.js'
import { linkmesh } from './command.js'

const root = mkdtempSync(join(tmpdir(), 'linkmesh-dlq-cli-'))
const data = join(root, 'data')
afterAll(() => rmSync(root, { recursive: true, force: true }))

const run = (...args: string[]) => linkmesh([...args, '--data', data, '--json'], { cwd: root })

describe.skipIf(loadBinding().backend.kind === 'fallback')('dead letters on the command line', () => {
  beforeAll(async () => {
    const mesh = await Mesh.open({ name: `cli-${process.pid}`, data })
    for (let n = 0; n < 6; n++) {
      await mesh.deadLetters.append({ service: n < 4 ? 'till.pay' : 'gone', reason: 'TILL_CLOSED', body: { n } })
      await mesh.audit.append({ actor: 'ada', action: 'close-till', details: { n } })
    }
    await mesh.close()
    writeFileSync(
      join(root, 'linkmesh.config.mjs'),
      `export default { services: { till: { module: './till.mjs', instances: 1 } } }\n`,
    )
    // What it served is written down: the command has ended when the test looks.
    writeFileSync(
      join(root, 'till.mjs'),
      `import { appendFileSync } from 'node:fs'
export default { pay: (body) => appendFileSync(new URL('served', import.meta.url), JSON.stringify(body) + '\\n') }\n`,
    )
  })

  it('lists, shows and exports while a process has the folder open', async () => {
    const mesh = await Mesh.open({ name: `cli-${process.pid}`, data })
    try {
      const { json, code } = await run('dlq', 'list', '--service', 'till.pay', '--limit', '2')
      expect(code).toBe(0)
      expect(json[0]).toMatchObject({ letters: [{ id: 1 }, { id: 2 }], next: 2, stats: { dead: 6 } })
      expect((await run('dlq', 'show', '2')).json[0]).toMatchObject({ letter: { body: { data: '{"n":1}' } } })
      expect((await run('dlq', 'export', '--id', '5', '6')).json.map(({ service }) => service)).toEqual([
        'gone',
        'gone',
      ])
      const locked = await run('dlq', 'purge', '--service', 'gone')
      expect([locked.code, locked.json[0]]).toMatchObject([1, { error: { code: 'LM_LOCKED' } }])
    } finally {
      await mesh.close()
    }
  })

  it('sends letters again to the services of a config', async () => {
    const redrive = (...args: string[]) => run('dlq', 'redrive', '--config', join(root, 'linkmesh.config.mjs'), ...args)
    expect((await redrive('--service', 'till.pay', '--dry-run')).json[0]).toMatchObject({ taken: 4, delivered: 0 })
    const sent = await redrive('--service', 'till.pay', '--per-second', '1000')
    expect([sent.code, sent.json[0]], sent.stderr).toMatchObject([0, { taken: 4, delivered: 4 }])
    const served = readFileSync(join(root, 'served'), 'utf8').trim().split('\n').sort()
    expect(served).toEqual(['{"n":0}', '{"n":1}', '{"n":2}', '{"n":3}'])
    const failed = await redrive('--service', 'gone')
    expect([failed.code, failed.json[0]]).toMatchObject([1, { taken: 2, failed: 2 }])
  })

  it('purges only what it is told to', async () => {
    expect((await run('dlq', 'purge')).code).toBe(2)
    expect((await run('dlq', 'purge', '--service', 'gone', '--dry-run')).json[0]).toEqual({ purged: 2, dryRun: true })
    expect((await run('dlq', 'purge', '--service', 'gone')).json[0]).toEqual({ purged: 2, dryRun: false })
    expect((await run('dlq', 'list')).json[0]).toMatchObject({ letters: [] })
  })

  it('reads the audit trail, and names what was changed in it', async () => {
    const tail = await run('audit', 'tail', '--count', '2')
    expect(tail.json.map(({ entry }) => (entry as { details: unknown }).details)).toEqual([{ n: 4 }, { n: 5 }])
    expect((await run('audit', 'export')).json).toHaveLength(6)
    expect((await run('audit', 'verify')).json[0]).toMatchObject({ valid: true, records: 6, problems: [] })
    const folder = join(data, 'audit')
    const file = join(folder, readdirSync(folder).filter((name) => name.endsWith('.journal'))[0] as string)
    const bytes = readFileSync(file)
    const at = bytes.indexOf('{"n":2}')
    bytes[at + 5] = '9'.charCodeAt(0)
    writeFileSync(file, bytes)
    const broken = await run('audit', 'verify')
    expect([broken.code, broken.json[0]]).toMatchObject([1, { valid: false, problems: [{ sequence: 3 }] }])
    const tailed = await run('audit', 'tail')
    expect([tailed.code, tailed.json[0]]).toMatchObject([1, { error: { code: 'LM_CORRUPT' } }])
    const repaired = await run('audit', 'verify', '--repair')
    expect(repaired.stderr).toContain('dropped: record 3')
    expect([repaired.code, repaired.json[0]]).toMatchObject([0, { valid: true, records: 5, repaired: [{}] }])
  })
})
