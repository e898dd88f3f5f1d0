/** Registries of connected nodes: what is offered, what changes, who comes back. */
import { afterEach, describe, expect, it } from 'vitest'
import { NO_NATIVE } from '../support/native.js'
import { type Answer, founder, joiner, type Node, NodeProcess, until } from '../support/node.js'

describe.skipIf(NO_NATIVE !== '')(`registries of nodes${NO_NATIVE === '' ? '' : `: ${NO_NATIVE}`}`, () => {
  const open: Node[] = []
  const keep = (node: Node): Node => {
    open.push(node)
    return node
  }
  afterEach(async () => {
    await Promise.all(open.splice(0).map(({ node }) => node.end('SIGKILL')))
  })
  const instances = async ({ node }: Node, name: string): Promise<Answer[]> =>
    (await node.ask('services')).services.find((service: Answer) => service.name === name)?.instances ?? []

  it('a change reaches the others: version, weight, tags, a new service, one that leaves', async () => {
    const first = keep(await founder([{ name: 'echo', version: '1.2.3', tags: ['a'], zone: 'z1' }]))
    const second = keep(await joiner(first))
    expect(await instances(second, 'echo')).toMatchObject([{ version: '1.2.3', tags: ['a'], zone: 'z1', weight: 1 }])
    await first.node.ask('update', { name: 'echo', patch: { weight: 9, tags: ['b', 'c'] } })
    await until(async () => (await instances(second, 'echo'))[0].weight === 9)
    expect(await instances(second, 'echo')).toMatchObject([{ tags: ['b', 'c'], version: '1.2.3' }])
    await first.node.ask('serve', { name: 'later', handler: 'whoami' })
    await until(async () => (await instances(second, 'later')).length === 1)
    expect((await second.node.ask('request', { service: 'later' })).reply).toBe(first.node.child.pid)
    await first.node.ask('leave', { name: 'echo' })
    await until(async () => (await instances(second, 'echo')).length === 0)
    expect((await second.node.ask('request', { service: 'echo' })).error).toMatchObject({ code: 'LM_NO_INSTANCE' })
  })

  it('an instance that drains at its node gets nothing new, and what it works on is answered', async () => {
    const first = keep(await founder([{ name: 'work', handler: 'whoami' }]))
    const second = keep(await joiner(first, [{ name: 'work', handler: 'whoami' }]))
    const third = keep(await joiner(first))
    const asked = async () => new Set(await Promise.all(Array.from({ length: 20 }, async () => {
      const { reply } = await third.node.ask('request', { service: 'work' })
      return reply
    }))) // biome-ignore format: one call
    await until(async () => (await instances(third, 'work')).length === 1)
    await first.node.ask('drain', { name: 'work' })
    await until(async () => (await instances(third, 'work'))[0]?.health === 'draining')
    const { error } = await third.node.ask('request', { service: 'work' })
    expect(error).toMatchObject({ code: 'LM_DRAINING', outcome: 'not-delivered' })
    // The one that has both routes around it.
    expect((await first.node.ask('request', { service: 'work' })).reply).toBe(second.node.child.pid)
    await first.node.ask('update', { name: 'work', patch: { health: 'healthy' } })
    await until(async () => (await instances(third, 'work'))[0]?.health === 'healthy')
    expect(await asked()).toEqual(new Set([first.node.child.pid]))
  })

  it('three nodes that all know one another share the load of a service', async () => {
    const first = keep(await founder([{ name: 'work', handler: 'whoami' }]))
    const second = keep(await joiner(first, [{ name: 'work', handler: 'whoami' }], { listen: 'quic://127.0.0.1:0' }))
    const { token } = await first.node.ask('invite')
    const third = keep(
      await joiner(first, [{ name: 'work', handler: 'whoami' }], {
        join: [{ address: first.info.listening, token }, { address: second.info.listening }],
      }),
    )
    for (const node of [first, second, third]) await until(async () => (await instances(node, 'work')).length === 3)
    const pids = [first, second, third].map(({ node }) => node.child.pid)
    const { picked } = await third.node.ask('spread', { service: 'work', count: 300 })
    for (const pid of pids) expect(picked[pid as number], `${pid} of ${JSON.stringify(picked)}`).toBeGreaterThan(40)
    expect((await third.node.ask('peers')).peers).toHaveLength(2)
    // Load is known per instance: one that has many requests in flight is picked less.
    const figures = await instances(third, 'work')
    expect(figures.map(({ inFlight }: Answer) => inFlight)).toEqual([0, 0, 0])
    expect(figures.reduce((sum: number, { picked }: Answer) => sum + picked, 0)).toBe(300)
  })

  it('two nodes that dial each other are one node to each', async () => {
    const first = keep(await founder([{ name: 'echo' }]))
    const second = keep(await joiner(first, [{ name: 'whoami' }], { listen: 'quic://127.0.0.1:0' }))
    await first.node.ask('connect', { address: second.info.listening })
    expect(await instances(first, 'whoami')).toHaveLength(1)
    expect(await instances(second, 'echo')).toHaveLength(1)
    const ends = await first.node.ask('burst', { service: 'whoami', count: 200 })
    expect(ends.ok).toBe(200)
  })

  it('a node that is killed and starts again at its address is found again, and asked there', async () => {
    const first = keep(await founder([{ name: 'whoami' }]))
    const second = keep(await joiner(first))
    const old = first.node.child.pid
    expect((await second.node.ask('request', { service: 'whoami' })).reply).toBe(old)
    first.node.child.kill('SIGKILL')
    await first.node.ended
    const again = new NodeProcess(first.node.data)
    keep({ node: again, info: {} })
    await again.ask('open', {
      options: { listen: first.info.listening, data: first.node.data },
      serve: [{ name: 'whoami' }],
    })
    await until(async () => (await second.node.ask('request', { service: 'whoami' })).reply === again.child.pid)
    expect(await instances(second, 'whoami')).toHaveLength(1)
  })
})
