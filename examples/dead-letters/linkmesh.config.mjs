/** A shop with two tills. Payments are kept when they fail: money that was not taken is taken later. */
export default {
  name: 'shop',
  services: {
    till: {
      module: './till.mjs',
      instances: 2,
      policy: {
        balancer: 'round-robin',
        // Five failures in a row, and for a minute the till is left alone.
        breaker: { consecutiveFailures: 5, openMs: 60_000, maxOpenMs: 60_000 },
      },
    },
  },
  gateway: { port: 8642, routes: { 'POST /pay': 'till.pay' } },
}
