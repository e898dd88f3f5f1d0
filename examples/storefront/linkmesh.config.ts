import { defineConfig } from 'linkmesh/config'

export default defineConfig({
  name: 'storefront',
  gateway: {
    port: 8080,
    routes: {
      'GET /products': 'catalog.list',
      'GET /products/:sku': 'catalog.get',
      'GET /search': 'search.query',
      'POST /carts': 'cart.open',
      'GET /carts/:token': 'cart.price',
      'POST /orders': { service: 'orders.create', timeoutMs: 10_000 },
      'GET /orders/:id': 'orders.get',
      'GET /images/:sku': { service: 'images.render', key: 'sku', contentType: 'image/png' },
    },
  },
  policy: { balancer: 'least-request', timeoutMs: 5_000 },
  services: {
    // What customers wait for may ask a second instance when the first one is slow.
    catalog: {
      module: './services/catalog.ts',
      instances: 2,
      policy: { qos: { class: 'low-latency' }, hedge: { enabled: true, budget: 0.1 } },
    },
    search: { module: './services/search.ts', instances: 2, policy: { balancer: 'peak-ewma' } },
    cart: { module: './services/cart.ts', instances: 2 },
    orders: { module: './services/orders.ts', instances: 2, policy: { timeoutMs: 10_000, qos: { class: 'critical' } } },
    payments: { module: './services/payments.ts', instances: 1 },
    images: { module: './services/images.ts', instances: 1 },
  },
  load: { module: './load/profile.ts', rate: 500, requests: 20_000 },
})
