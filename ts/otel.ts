/**
 * OpenTelemetry: spans for requests and handlers, and the mesh's metrics for its exporters.
 *
 * An entry of its own, `linkmesh/otel`: it needs `@opentelemetry/api`, and for the metrics `@opentelemetry/sdk-metrics` and
 * `@opentelemetry/resources`, which are optional peers. Deliberately absent: exporters, samplers, propagators. Those
 * are OpenTelemetry's own.
 */
export { MeshMetricProducer } from './otel/metrics.js'
export { traceMesh } from './otel/tracing.js'
