/** The libraries that people reach for today, each with every protection on that it has, around the same handler. */
import { rival } from './native.mjs'
import { ownLoop } from './own-loop.mjs'

/** What every contender serves: cheap, so that what is measured is the way to it. */
export const handler = async (body) => ({ id: body.id, total: body.quantity * 3 })

/** 1,024 bodies, varied and the same for all. */
export function bodies(random) {
  return Array.from({ length: 1_024 }, (_, id) => ({ id, quantity: random() % 100 }))
}

/** Digest of the right answers. */
export const digestOf = (inputs) => (count, first) => {
  let sum = 0
  for (let n = 0; n < count; n++) {
    const { id, quantity } = inputs[(first + n) & 1_023]
    sum = (sum + id + quantity * 3) | 0
  }
  return sum
}

/**
 * Awaits one call after the other.
 *
 * @param {string} name of the contender
 * @param {object[]} inputs
 * @param {(body: object) => Promise<{ id: number, total: number }>} call
 */
export const awaited = (name, inputs, call) => ({
  name,
  run: ownLoop(
    name,
    { inputs, call },
    `async (count, first) => {
      let sum = 0
      for (let n = 0; n < count; n++) {
        const reply = await call(inputs[(first + n) & 1023])
        sum = (sum + reply.id + reply.total) | 0
      }
      return sum
    }`,
  ),
})

/**
 * Moleculer: circuit breaker, bulkhead, retry and metrics on, as its documentation shows them; logging off.
 *
 * @returns {Promise<{ call: (body: object) => Promise<object>, close: () => Promise<void> }>}
 */
export async function moleculer() {
  const { ServiceBroker } = rival('moleculer')
  const broker = new ServiceBroker({
    logger: false,
    circuitBreaker: { enabled: true, threshold: 0.5, minRequestCount: 20, windowTime: 10, halfOpenTime: 1_000 },
    bulkhead: { enabled: true, concurrency: 256, maxQueueSize: 1_024 },
    retryPolicy: { enabled: true, retries: 2, delay: 5, maxDelay: 250 },
    metrics: { enabled: true, collectProcessMetrics: false },
  })
  broker.createService({ name: 'orders', actions: { create: (context) => handler(context.params) } })
  await broker.start()
  await broker.waitForServices('orders')
  return { call: (body) => broker.call('orders.create', body), close: () => broker.stop() }
}

/** cockatiel: retry, circuit breaker, bulkhead and timeout, wrapped. It counts nothing. */
export function cockatiel() {
  const {
    bulkhead,
    circuitBreaker,
    ExponentialBackoff,
    handleAll,
    retry,
    SamplingBreaker,
    timeout,
    TimeoutStrategy,
    wrap,
  } = rival('cockatiel')
  const policy = wrap(
    retry(handleAll, { maxAttempts: 2, backoff: new ExponentialBackoff({ initialDelay: 5, maxDelay: 250 }) }),
    circuitBreaker(handleAll, {
      halfOpenAfter: 1_000,
      breaker: new SamplingBreaker({ threshold: 0.5, duration: 10_000 }),
    }),
    bulkhead(256, 1_024),
    timeout(5_000, TimeoutStrategy.Cooperative),
  )
  return { call: (body) => policy.execute(() => handler(body)), close: async () => {} }
}

/** opossum: circuit breaker with timeout, capacity and rolling statistics. It does not retry. */
export function opossum() {
  const Breaker = rival('opossum')
  const breaker = new Breaker(handler, {
    timeout: 5_000,
    errorThresholdPercentage: 50,
    resetTimeout: 1_000,
    capacity: 256,
    rollingCountTimeout: 10_000,
    volumeThreshold: 20,
  })
  return { call: (body) => breaker.fire(body), close: async () => breaker.shutdown() }
}
