/** Requests of a counter there and back, each answer checked: how many a second, how long one takes, how long after a pause. */
import { setTimeout as sleep } from 'node:timers/promises'
import { quantile } from './measure.mjs'
import { read, write } from './threads/echo.mjs'

/** @typedef {(body: Uint8Array) => Promise<Uint8Array>} Call */

/** @param {number} bodyBytes length of each request and of its answer */
export function roundTrips(bodyBytes) {
  let counter = 0

  /** One request; throws when the answer is not the one to this request. */
  async function ask(call) {
    const body = new Uint8Array(bodyBytes)
    const sent = counter++ >>> 0
    write(body, sent)
    const reply = await call(body)
    if (reply.length !== bodyBytes || read(reply) !== (sent + 1) >>> 0) throw new Error('an answer to another request')
  }

  return {
    /** Requests a second with `inFlight` of them under way. @param {Call} call */
    async rate(call, inFlight, ms) {
      let done = 0
      const began = performance.now()
      const until = began + ms
      const lane = async () => {
        // Reading the clock costs a part of what a request costs: not what is measured here.
        while (performance.now() < until) {
          for (let request = 0; request < 16; request++) await ask(call)
          done += 16
        }
      }
      await Promise.all(Array.from({ length: inFlight }, lane))
      return { rate: (done * 1_000) / (performance.now() - began) }
    },
    /** Time of a request, µs, one right after the other. @param {Call} call */
    async hot(call, ms) {
      const times = []
      const until = performance.now() + ms
      while (performance.now() < until) {
        const began = performance.now()
        await ask(call)
        times.push((performance.now() - began) * 1_000)
      }
      return { p50: quantile(times, 0.5), p99: quantile(times, 0.99) }
    },
    /** Time of a request, µs, after both sides were idle for `pauseMs`. @param {Call} call */
    async idle(call, samples, pauseMs) {
      const times = []
      for (let sample = 0; sample < samples; sample++) {
        await sleep(pauseMs)
        const began = performance.now()
        await ask(call)
        times.push((performance.now() - began) * 1_000)
      }
      return { times }
    },
  }
}
