/** A config that changes while `linkmesh up` runs under load: nothing lost, the bad taken back, the wrong refused. */
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it, vi } from 'vitest'
import { choose } from '../../ts/binding/index.js'
import { adminSession } from '../../ts/cli/admin.js'
import { describe, NO_MESH } from '../support/backend.js'
import { linkmesh, type Running, start } from './command.js'

const folder = mkdtempSync(join(tmpdir(), 'linkmesh-reload-'))
afterAll(() => rmSync(folder, { recursive: true }))
vi.setConfig({ testTimeout: 120_000 })
/** The fallback keeps no trail on disk. */
const native = choose(process.env.LINKMESH_BACKEND).backend.kind === 'native'

writeFileSync(
  join(folder, 'echo.mjs'),
  `const later = () => new Promise((resolve) => setTimeout(resolve, 10))
  export default { handlers: { say: async ({ word }) => (await later(), word) }, idempotent: true }`,
)
writeFileSync(
  join(folder, 'load.mjs'),
  `export default {
    next: (random) => ({ method: 'GET', target: '/say/' + Math.floor(random() * 100) }),
    expected: ({ target }) => target.slice(5),
    digest: (_, { status, body }) => (status === 200 ? Buffer.from(body).toString() : 'status ' + status),
  }`,
)

interface Shape {
  instances?: number
  policy?: object
  routes?: Record<string, string>
  reload?: object
}
let files = 0
/** A config in a file of its own, and what replaces it as an editor does: a new file, renamed. */
function config(shape: Shape = {}) {
  const path = join(folder, `config-${++files}.json`)
  const write = ({ instances = 2, policy = {}, routes = {}, reload = {} }: Shape, text?: string): void => {
    const value = {
      name: `reload-${process.pid}-${files}`,
      services: { echo: { module: './echo.mjs', instances, policy } },
      // Longer than a busy machine stands still: loss is what is looked for.
      gateway: { port: 0, timeoutMs: 30_000, routes: { 'GET /say/:word': 'echo.say', ...routes } },
      load: { module: './load.mjs', rate: 200 },
      reload: { watchMs: 300, minRequests: 20, ...reload },
    }
    writeFileSync(`${path}.new`, text ?? JSON.stringify(value))
    renameSync(`${path}.new`, path)
  }
  write(shape)
  return { path, write }
}
type Report = Record<string, unknown> & { verdict: string; reason?: string; watched?: unknown }
const reported = (up: Running, count: number): Promise<Report> => {
  let seen = 0
  return up.line(({ type }) => type === 'reload' && ++seen === count) as Promise<Report>
}
const busy = (up: Running) =>
  up.line(({ type, requestsPerSecond }) => type === 'second' && (requestsPerSecond as number) > 50)

describe.skipIf(NO_MESH !== '')('reload', () => {
  it('twenty times under load: policies, instances and routes change, and no request is lost', async () => {
    const reload = { watch: false }
    const { path, write } = config({ reload })
    const up = start(['up', path, '--json', '--seed', '3'])
    const { pid } = (await up.line(({ type }) => type === 'up')) as { pid: number }
    await busy(up)
    const session = await adminSession({ pid })
    for (let round = 1; round <= 20; round++) {
      write({
        instances: 1 + (round % 3),
        policy: { balancer: round % 2 ? 'peak-ewma' : 'round-robin', concurrency: 100 + round },
        routes: round % 2 ? { 'GET /extra': 'echo.say' } : {},
        reload,
      })
      // With the reason and what it was judged by: a failure says by which rule.
      const { verdict, reason, watched } = await session.ask<Report>('reload', {})
      expect({ verdict, reason, watched }).toEqual({ verdict: 'applied', reason: undefined, watched })
    }
    session.close()
    up.child.kill('SIGTERM')
    const { code, json } = await up.ended
    expect(json.filter(({ type }) => type === 'reload')).toHaveLength(20)
    const { errors } = json.at(-1) as { errors: object }
    expect(errors).toEqual({})
    expect(json.at(-1)).toMatchObject({ type: 'summary', lost: 0, wrong: 0, failed: 0, samples: [] })
    expect((json.at(-1) as { routed: number }).routed).toBeGreaterThan(200)
    expect(code).toBe(0)
  })

  it.skipIf(!native)(
    'several processes: instances come and go on each, policies reach all, no request is lost',
    async () => {
      const reload = { watch: false }
      const { path, write } = config({ reload })
      const up = start(['up', path, '--json', '--seed', '3', '--nodes', '2'])
      const { pid } = (await up.line(({ type }) => type === 'up')) as { pid: number }
      await busy(up)
      const session = await adminSession({ pid })
      for (const instances of [4, 1, 3]) {
        write({ instances, policy: { balancer: 'round-robin', concurrency: 100 + instances }, reload })
        const { verdict, reason, problems } = await session.ask<Report>('reload', {})
        expect({ verdict, reason, problems }).toEqual({ verdict: 'applied', reason: undefined, problems: [] })
        const list = async () => {
          const [service] = await session.ask<{ policy: { concurrency: number }; instances: unknown[] }[]>('list')
          return { concurrency: service?.policy.concurrency, instances: service?.instances.length }
        }
        // Those of the other node are known here a moment after they serve.
        await expect.poll(list, { timeout: 30_000 }).toEqual({ concurrency: 100 + instances, instances })
      }
      session.close()
      up.child.kill('SIGTERM')
      const { code, json } = await up.ended
      expect(json.at(-1)).toMatchObject({ type: 'summary', lost: 0, wrong: 0, failed: 0, samples: [], nodes: 2 })
      expect(code).toBe(0)
    },
  )

  it('a policy that refuses requests is rolled back by itself, and the trail says why', async () => {
    const { path, write } = config({ policy: { timeoutMs: 5_000 }, reload: { watchMs: 20_000 } })
    const data = join(folder, 'data')
    const up = start(['up', path, '--json', ...(native ? ['--data', data] : [])])
    await busy(up)
    // Two at a time at most, and nobody may wait: of 200 a second that take 10 ms each, many are refused.
    write({ policy: { concurrency: 1, queueLimit: 0, retry: { limit: 0 } }, reload: { watchMs: 20_000 } })
    const report = await reported(up, 1)
    expect(report).toMatchObject({ verdict: 'rolled-back', reason: expect.stringMatching(/requests failed/) })
    // The old route serves again.
    const { url } = (await up.line(({ type }) => type === 'up')) as { url: string }
    const reply = await fetch(`${url}/say/again`)
    expect([reply.status, await reply.text()]).toEqual([200, 'again'])
    up.child.kill('SIGTERM')
    await up.ended
    if (!native) return
    const trail = await linkmesh(['audit', 'export', '--data', data])
    const actions = trail.stdout.split('\n').filter(Boolean).map((line) => JSON.parse(line)) // biome-ignore format: one call
    expect(actions.map(({ entry }: { entry: { action: string } }) => entry.action)).toEqual([
      'config.reload',
      'config.rolled-back',
    ])
  })

  it('a wrong file names the field and changes nothing; one that needs a new start says so', async () => {
    const { path, write } = config()
    const data = join(folder, 'refused')
    const up = start(['up', path, '--json', ...(native ? ['--data', data] : [])])
    await busy(up)
    write({ policy: { concurrency: -1 } })
    expect(await reported(up, 1)).toMatchObject({
      verdict: 'refused',
      problems: [{ path: 'services.echo.policy.concurrency' }],
    })
    write({}, '{ "services": ')
    expect(await reported(up, 2)).toMatchObject({
      verdict: 'refused',
      problems: [{ message: expect.stringMatching(/not JSON/) }],
    })
    write({}, JSON.stringify({ name: 'other' }))
    const third = (await reported(up, 3)) as unknown as { problems: { path: string }[] }
    expect(third.problems.map((problem) => problem.path)).toEqual(['gateway', 'load', 'name'])
    // Who asks by the command hears the same, and a script sees it by the exit code.
    const { pid } = (await up.line(({ type }) => type === 'up')) as { pid: number }
    const asked = await linkmesh(['reload', '--pid', String(pid)])
    expect([asked.code, asked.stdout]).toEqual([
      1,
      expect.stringMatching(/^name: [\s\S]*\nrefused: nothing was changed\n$/m),
    ])
    up.child.kill('SIGTERM')
    const { json } = await up.ended
    expect(json.at(-1)).toMatchObject({ type: 'summary', lost: 0, wrong: 0, failed: 0 })
    if (!native) return
    const trail = await linkmesh(['audit', 'export', '--data', data])
    const actions = trail.stdout.split('\n').filter(Boolean).map((line) => JSON.parse(line).entry) // biome-ignore format: one call
    expect(actions.map(({ action }: { action: string }) => action)).toEqual(Array(4).fill('config.refused'))
  })

  it('a right file that the backend cannot follow is refused by name, and changes nothing', async () => {
    const { path, write } = config()
    const up = start(['up', path, '--json'], { env: { LINKMESH_BACKEND: 'fallback' } })
    await busy(up)
    write({ policy: { outlier: { enabled: true } } })
    expect(await reported(up, 1)).toMatchObject({
      verdict: 'refused',
      changes: [{ path: 'services.echo.policy.outlier' }],
      problems: [{ message: expect.stringMatching(/native/) }],
    })
    up.child.kill('SIGTERM')
    const { json } = await up.ended
    expect(json.at(-1)).toMatchObject({ type: 'summary', lost: 0, wrong: 0, failed: 0 })
  })

  it('a dry run shows where the latest picks would go, and changes nothing', async () => {
    const { path, write } = config({ reload: { watch: false } })
    const up = start(['up', path, '--json'])
    const { pid } = (await up.line(({ type }) => type === 'up')) as { pid: number }
    await busy(up)
    write({ instances: 4, reload: { watch: false } })
    const dry = await linkmesh(['reload', '--dry-run', '--pid', String(pid), '--json'])
    const { verdict, changes, shadow } = dry.json[0] as {
      verdict: string
      changes: { path: string }[]
      shadow: { services: { service: string; picks: number; moved: number }[] }
    }
    expect(verdict).toBe('checked')
    expect(changes).toEqual([{ path: 'services.echo.instances', from: 2, to: 4 }])
    expect(shadow.services[0]).toMatchObject({ service: 'echo.say', refused: { before: 0, after: 0 } })
    expect(shadow.services[0]?.picks).toBeGreaterThan(20)
    // Two of four are new: about half moves.
    expect(shadow.services[0]?.moved).toBeGreaterThan(0.3)
    const text = await linkmesh(['reload', '--dry-run', '--pid', String(pid)])
    expect(text.stdout).toMatch(/services\.echo\.instances: 2 → 4/)
    expect(text.stdout).toMatch(/echo-4 +none → /)
    const services = await linkmesh(['admin', 'list', '--pid', String(pid), '--json'])
    expect(JSON.parse(services.stdout)).toMatchObject([{ name: 'echo.say', instances: [{}, {}] }])
    up.child.kill('SIGTERM')
    const { json } = await up.ended
    expect(json.filter(({ type, verdict: one }) => type === 'reload' && one !== 'checked')).toEqual([])
  })
})
