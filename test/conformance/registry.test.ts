/** Services, instances, leases, connections and the log of what changed. */
import { expect, it } from 'vitest'
import { HeaderWord, INSTANCE_WORDS, InstanceWord, Outcome, Status } from '../../ts/binding/contract.js'
import { onBothBackends, refusal } from './backends.js'
import { openMesh } from './open-mesh.js'

onBothBackends('registry', (binding) => {
  it('keeps what an owner said of an instance', () => {
    const { b, mesh, define, add, instance } = openMesh(binding())
    const service = define('orders', { concurrency: 9 })
    expect(define('orders')).toBe(service)
    const spec = {
      address: 'http://a:1',
      weight: 3,
      zone: 'eu',
      tags: ['x', 'y', 'x'],
      version: '1.2.3-rc.1',
      metadata: { rack: 'ü' },
    }
    const handle = add(service, { ...spec, leaseMs: 1_000 })
    expect(instance(handle)).toMatchObject({
      ...spec,
      tags: ['x', 'y'],
      handle,
      service: 'orders',
      thread: 0,
      health: 'healthy',
      breaker: 'closed',
      concurrency: 9,
      inFlight: 0,
      leaseUntilMs: 1_000,
    })
    expect(b.instanceUpdate(mesh, handle, '{"weight":5,"health":"degraded","concurrency":2}')).toBe(0)
    expect(instance(handle)).toMatchObject({ weight: 5, zone: 'eu', health: 'degraded', concurrency: 2 })
    expect(b.instanceAdd(mesh, service, '{"address":"http://a:1"}')).toBe(Status.Duplicate)
    expect(refusal(b)).toEqual({ status: Status.Duplicate, field: 'address' })
    expect(b.instanceRemove(mesh, handle)).toBe(0)
    expect(b.instanceRemove(mesh, handle)).toBe(Status.StaleHandle)
    expect(refusal(b)).toEqual({ status: Status.StaleHandle, field: 'instance' })
    expect(b.serviceRemove(mesh, service)).toBe(0)
    expect(b.serviceFind(mesh, 'orders')).toBe(Status.NotFound)
    expect(b.serviceInfo(mesh, service)).toBe('')
  })

  it.each([
    ['', Status.InvalidArgument, 1],
    ['__proto__', Status.InvalidArgument, undefined],
    ['a b', Status.InvalidArgument, undefined],
    ['a\0', Status.InvalidArgument, undefined],
    ['ä', Status.InvalidArgument, undefined],
    ['n'.repeat(257), Status.LimitExceeded, 256],
  ])('refuses the service name %.20j', (name, status, limit) => {
    const { b, mesh } = openMesh(binding())
    expect(b.serviceDefine(mesh, name, '')).toBe(status)
    expect(refusal(b)).toEqual({ status, field: 'name', ...(limit === undefined ? {} : { limit }) })
  })

  it.each([
    ['{"weight":0}', 'weight', 1],
    ['{"weight":1001}', 'weight', 1_000],
    ['{"weight":1.5}', 'weight', undefined],
    ['{"weight":null}', 'weight', undefined],
    ['{"weight":"1"}', 'weight', undefined],
    ['{"tags":["a b"]}', 'tags[0]', undefined],
    ['{"tags":"eu"}', 'tags', undefined],
    ['{"version":"v1"}', 'version', undefined],
    ['{"metadata":{"__proto__":"x"}}', 'metadata', undefined],
    ['{"metadata":{"a":1}}', 'metadata', undefined],
    ['{"address":"a b"}', 'address', undefined],
    ['{"wieght":1}', 'wieght', undefined],
    ['{"leaseMs":0}', 'leaseMs', 1],
    ['[]', 'spec', undefined],
    ['{', 'spec', undefined],
  ])('refuses the instance %s', (spec, field, limit) => {
    const { b, mesh, define, service } = openMesh(binding())
    const orders = define('orders')
    expect(b.instanceAdd(mesh, orders, spec)).toBe(Status.InvalidArgument)
    expect(refusal(b)).toEqual({ status: Status.InvalidArgument, field, ...(limit === undefined ? {} : { limit }) })
    expect(service(orders).instances).toEqual([])
  })

  it.each([
    ['{"timeoutMs":"1"}', 'policy.timeoutMs'],
    ['{"balancer":"magic"}', 'policy.balancer'],
    ['{"breaker":{"errorRate":2}}', 'policy.breaker.errorRate'],
    ['{"breaker":{"opneMs":2}}', 'policy.breaker.opneMs'],
    ['{"retry":{"budget":-1}}', 'policy.retry.budget'],
    ['{"colour":1}', 'policy.colour'],
    ['[]', 'policy'],
  ])('refuses the policy %s', (policy, field) => {
    const { b, mesh } = openMesh(binding())
    expect(b.serviceDefine(mesh, 'a', policy)).toBe(Status.InvalidArgument)
    expect(refusal(b)).toMatchObject({ status: Status.InvalidArgument, field })
    expect(b.serviceFind(mesh, 'a')).toBe(Status.NotFound)
  })

  it('removes an instance whose lease ran out, unless it was renewed', () => {
    const { b, mesh, define, add, events, advanceMs } = openMesh(binding())
    const service = define('a')
    const [short, renewed] = [
      add(service, { address: 'http://1', leaseMs: 100 }),
      add(service, { address: 'http://2', leaseMs: 100 }),
    ]
    advanceMs(99)
    expect(b.instanceRenew(mesh, renewed, 100)).toBe(0)
    advanceMs(1)
    expect(b.instanceInfo(mesh, short)).toBe('')
    expect(b.instanceInfo(mesh, renewed)).not.toBe('')
    advanceMs(99)
    expect(b.instanceInfo(mesh, renewed)).toBe('')
    expect(events().events.filter(({ kind }) => kind === 'lease-expired')).toMatchObject([
      { instance: short, atUs: 100_000, health: 'dead' },
      { instance: renewed, atUs: 199_000, health: 'dead' },
    ])
    expect(b.instanceRenew(mesh, short, 100)).toBe(Status.StaleHandle)
  })

  it('logs each change once, in order, and reports a gap', () => {
    const { define, add, b, mesh, events } = openMesh(binding())
    const service = define('a')
    const handle = add(service, { address: 'http://1' })
    b.instanceUpdate(mesh, handle, '{"health":"draining"}')
    b.instanceUpdate(mesh, handle, '{}')
    b.instanceRemove(mesh, handle)
    const batch = events()
    expect(batch.gap).toBe(false)
    expect(batch.events.map(({ kind }) => kind)).toEqual([
      'service-added',
      'instance-added',
      'instance-changed',
      'instance-removed',
    ])
    expect(batch.last).toBe(batch.events.at(-1)?.sequence)
    expect(events(batch.last).events).toEqual([])
    for (let i = 0; i < 2_100; i++) b.instanceRemove(mesh, add(service, { address: 'http://1' }))
    const late = events(1)
    expect(late.gap).toBe(true)
    expect(late.events.length).toBe(4_096)
    expect(events(late.last - 5).gap).toBe(false)
  })

  it('shows instances in the views', () => {
    const { define, add, b, mesh, instance } = openMesh(binding())
    const { header, instances } = b.views(mesh)
    const before = header[HeaderWord.RegistryEpoch] as number
    const service = define('a', { concurrency: 4 })
    const handle = add(service, { weight: 7 })
    const cell = (handle & 0x1ffff) * INSTANCE_WORDS
    const word = (index: number) => instances[cell + index]
    expect(header[HeaderWord.RegistryEpoch]).toBeGreaterThan(before)
    expect([header[HeaderWord.Services], header[HeaderWord.Instances]]).toEqual([1, 1])
    expect([
      word(InstanceWord.Handle),
      word(InstanceWord.Weight),
      word(InstanceWord.Limit),
      word(InstanceWord.Service),
    ]).toEqual([handle, 7, 4, service])
    expect(word(InstanceWord.Thread)).toBe(instance(handle).thread)
    const ticket = b.pick(mesh, service, 0)
    expect([word(InstanceWord.InFlight), instance(handle).picked]).toEqual([1, 1])
    b.complete(mesh, ticket, 0, 100)
    expect([word(InstanceWord.InFlight), word(InstanceWord.Succeeded), instance(handle).picked]).toEqual([0, 1, 1])
    b.complete(mesh, b.pick(mesh, service, 0), Outcome.Cancelled, 100)
    expect([word(InstanceWord.InFlight), word(InstanceWord.Cancelled), instance(handle).picked]).toEqual([0, 1, 2])
    b.instanceUpdate(mesh, handle, '{"health":"draining"}')
    expect((word(InstanceWord.State) as number) & 15).toBe(2)
    b.instanceRemove(mesh, handle)
    expect(word(InstanceWord.Handle)).toBe(0)
  })

  it('keeps connections, whose life only goes forward', () => {
    const { b, mesh } = openMesh(binding())
    const connection = b.connectionOpen(mesh, '{"protocol":"http","remote":"10.0.0.1:80"}')
    expect(connection).toBeGreaterThan(0)
    expect(b.connectionUpdate(mesh, connection, '{"state":"open","requests":3,"bytesIn":9007199254740991}')).toBe(0)
    expect(b.connectionUpdate(mesh, connection, '{"state":"connecting"}')).toBe(Status.InvalidArgument)
    expect(refusal(b)).toEqual({ status: Status.InvalidArgument, field: 'state' })
    expect(JSON.parse(b.connectionList(mesh))).toEqual([
      {
        handle: connection,
        protocol: 'http',
        remote: '10.0.0.1:80',
        metadata: {},
        state: 'open',
        openedMs: 0,
        requests: 3,
        bytesIn: 9007199254740991,
        bytesOut: 0,
      },
    ])
    expect(b.connectionClose(mesh, connection)).toBe(0)
    expect(b.connectionClose(mesh, connection)).toBe(Status.StaleHandle)
    expect(b.connectionOpen(mesh, '{"protocol":"http"}')).toBe(Status.InvalidArgument)
    expect(refusal(b)).toEqual({ status: Status.InvalidArgument, field: 'remote' })
  })
})
