/** `linkmesh admin`, and what else uses the local socket, against a running `linkmesh up` in a process of its own. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { consult } from '../support/erlang-terms.js'
import { linkmesh, type Running, start } from './command.js'

const root = mkdtempSync(join(tmpdir(), 'lm-cli-admin-'))
const env = { XDG_RUNTIME_DIR: root }
const run = (...args: string[]) => linkmesh(args, { cwd: root, env })
const admin = (...args: string[]) => run('admin', ...args, '--json')

describe.skipIf(process.platform === 'win32')('linkmesh admin', () => {
  let up: Running
  let url: string
  beforeAll(async () => {
    writeFileSync(join(root, 'till.mjs'), `export default { pay: (body) => body, count: () => 1 }\n`)
    const services = { till: { module: './till.mjs', instances: 2 } }
    const gateway = { port: 0, routes: { 'POST /pay': 'till.pay' } }
    writeFileSync(join(root, 'linkmesh.config.json'), JSON.stringify({ name: 'shop', services, gateway, workers: 1 }))
    up = start(['up', '--no-load', '--json'], { cwd: root, env })
    url = (await up.line(({ type }) => type === 'up')).url as string
  })
  afterAll(async () => {
    up.child.kill('SIGTERM')
    await up.ended
    rmSync(root, { recursive: true, force: true })
  })

  const till = async (name: string) => {
    const services = JSON.parse((await admin('list')).stdout) as {
      name: string
      policy: Record<string, unknown>
      instances: { handle: number; metadata: { instance: string } }[]
    }[]
    const service = services.find((one) => one.name === 'till.pay')
    return { policy: service?.policy, ...service?.instances.find(({ metadata }) => metadata.instance === name) }
  }

  it('finds the mesh, by name and process', async () => {
    const { pid } = up.child
    expect(JSON.parse((await admin('meshes')).stdout)).toMatchObject([{ mesh: 'shop', pid }])
    expect((await admin('list', '--mesh', 'shop', '--pid', String(pid))).code).toBe(0)
    const wrong = await admin('list', '--mesh', 'shed')
    expect([wrong.code, wrong.json[0]]).toMatchObject([2, { error: { code: 'LM_USAGE' } }])
    expect(wrong.stdout).toContain(`shop (pid ${pid})`)
  })

  it('carries out every order', async () => {
    const order = async (...args: string[]) => {
      const ended = await admin(...args)
      expect(ended.code, `${args.join(' ')}: ${ended.stdout}${ended.stderr}`).toBe(0)
      return ended.json[0]
    }
    const { handle } = await till('till-1')
    expect(await order('drain', 'till.pay', 'till-1')).toEqual({
      op: 'drain',
      service: 'till.pay',
      instances: [handle],
    })
    expect(await till('till-1')).toMatchObject({ health: 'draining' })
    await order('undrain', 'till.pay', String(handle))
    expect(await till('till-1')).toMatchObject({ health: 'healthy' })
    await order('open-breaker', 'till.pay', 'till-2')
    expect(await till('till-2')).toMatchObject({ breaker: 'open' })
    await order('close-breaker', 'till.pay', 'till-2')
    expect(await till('till-2')).toMatchObject({ breaker: 'closed' })
    await order('eject', 'till.pay', 'till-2', '--for', '60')
    await order('reset', 'till.pay', '--all')
    await order('weight', '7', 'till.pay', 'till-2')
    expect(await till('till-2')).toMatchObject({ weight: 7 })
    await order('policy', 'till.pay', 'balancer=maglev', 'breaker.openMs=777')
    expect(await till('till-2')).toMatchObject({ policy: { balancer: 'maglev', breaker: { openMs: 777 } } })
  })

  it.each([
    [['drain', 'till.pay'], 2, 'LM_USAGE'],
    [['drain', 'till.pay', 'till-1', '--all'], 2, 'LM_USAGE'],
    [['drain', 'till.pay', 'till-9'], 1, 'LM_NOT_FOUND'],
    [['drain', 'nothing', '--all'], 1, 'LM_NOT_FOUND'],
    [['policy', 'till.pay', 'balancer=fastest'], 1, 'LM_INVALID_ARGUMENT'],
    [['policy', 'till.pay', '__proto__=1'], 2, 'LM_USAGE'],
    [['policy', 'till.pay', 'balancer'], 2, 'LM_USAGE'],
  ])('%j is refused with what to do', async (args, code, name) => {
    const ended = await admin(...args)
    expect([ended.code, ended.json[0]], ended.stderr).toMatchObject([code, { error: { code: name } }])
  })

  it.each([
    ['weight', '0', 'till.pay', '--all'],
    ['eject', 'till.pay', '--all', '--for', '3601'],
    ['metrics', '--format', 'xml'],
  ])('admin %s %s %s … is no command', async (...args) => {
    expect((await admin(...args)).code).toBe(2)
  })

  it('prints metrics and a dump', async () => {
    expect(consult((await run('admin', 'metrics', '--format', 'erlang')).stdout).length).toBeGreaterThan(3)
    expect((await run('admin', 'metrics')).stdout).toContain('# TYPE linkmesh_requests_total counter')
    expect(JSON.parse((await admin('dump')).stdout)).toMatchObject({ mesh: 'shop', pid: up.child.pid })
  })

  it('follows events', async () => {
    const following = start(['admin', 'events', '--count', '1', '--json'], { cwd: root, env })
    // Whatever comes first after it began to listen: until then the weight moves.
    let weight = 0
    let over = false
    void following.ended.then(() => {
      over = true
    })
    while (!over) await admin('weight', String(1 + (weight++ % 9)), 'till.count', '--all')
    const { code, json } = await following.ended
    expect([code, json[0]]).toMatchObject([0, { kind: 'instance-changed', service: 'till.count' }])
  })

  it('explains picks as they are made', async () => {
    const following = start(['explain', 'till.pay', '--follow', '--picks', '2', '--json'], { cwd: root, env })
    let over = false
    void following.ended.then(() => {
      over = true
    })
    const pay = { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{}' }
    while (!over) expect((await fetch(`${url}/pay`, pay)).status).toBe(200)
    const { code, json } = await following.ended
    expect([code, json]).toMatchObject([0, [{ service: 'till.pay', candidates: [{}, {}] }, { service: 'till.pay' }]])
  })

  it('services and explain by the socket of a mesh that is named', async () => {
    expect((await run('services', '--mesh', 'shop', '--json')).json[0]).toMatchObject({ services: [{}, {}] })
    const explaining = start(['explain', 'till.pay', '--mesh', 'shop', '--picks', '1'], { cwd: root, env })
    let over = false
    void explaining.ended.then(() => {
      over = true
    })
    const pay = { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{}' }
    while (!over) await fetch(`${url}/pay`, pay)
    expect((await explaining.ended).stdout).toMatch(/^till\.pay → till-\d {2}by maglev/)
  })

  it('a gateway that is named is meant: nothing else answers in its place', async () => {
    expect((await run('services', '--url', url, '--json')).json[0]).toHaveProperty('services')
    expect((await run('services', '--url', 'http://127.0.0.1:9')).code).toBe(1)
  })

  it('says what to do when nothing runs', async () => {
    const elsewhere = mkdtempSync(join(tmpdir(), 'lm-none-'))
    const ended = await linkmesh(['admin', 'list'], { cwd: root, env: { XDG_RUNTIME_DIR: elsewhere } })
    rmSync(elsewhere, { recursive: true })
    expect([ended.code, ended.stderr]).toMatchObject([1, expect.stringContaining('start `linkmesh up`')])
  })
})
