/**
 * linkmesh: Node.js services, workers and agents that route, balance and share memory at native speed.
 *
 * Start at {@link Mesh}. Tables: `linkmesh/tables`; worker threads: `linkmesh/workers`; HTTP gateway: `linkmesh/http`.
 */

export type { AdminEvent, Administration, Dump, InstanceTarget } from './admin.js'
export type { Orderer } from './admin/administration.js'
export type {
  AdaptiveConcurrencyPolicy,
  Backpressure,
  Balancer,
  BalancingPolicy,
  ConnectionInfo,
  Explanation,
  Handle,
  HedgePolicy,
  IdempotencyPolicy,
  InstanceInfo,
  InstanceSpec,
  MeshEvent,
  MetricFormat,
  Ordering,
  OutlierPolicy,
  Policy,
  QosClass,
  QosPolicy,
  RateLimitPolicy,
  RecordedPick,
  ServiceInfo,
  ThreadInfo,
  Ticket,
  WatermarkPolicy,
} from './binding/contract.js'
export { Outcome } from './binding/contract.js'
export type { Gap, JournalOptions } from './binding/contract-journal.js'
export type {
  EndpointInfo,
  LatencyMode,
  PeerInfo,
  PingInfo,
  RelayQuota,
  ResolutionInfo,
} from './binding/contract-node.js'
export type { Backend } from './binding/index.js'
export type {
  AuditEntry,
  AuditLog,
  AuditRecord,
  DeadLetter,
  DeadLetterEntry,
  DeadLetterEvent,
  DeadLetterStats,
  DeadLetterSummary,
  DeadLetters,
  LetterAttempt,
  LetterFilter,
  LetterState,
  RedriveAllOptions,
  RedriveOptions,
  RedriveProgress,
  RedriveSummary,
  StoredLetter,
  Verification,
} from './dead-letters.js'
export type { DiscoveryQuery, DiscoveryResult } from './discovery.js'
export {
  CancelledError,
  type DeliveryOutcome,
  type ErrorCode,
  type ErrorDetails,
  LinkmeshError,
  NoInstanceError,
  RemoteError,
  SaturatedError,
  TimeoutError,
} from './errors.js'
export {
  type Batch,
  BatchError,
  type BatchResults,
  type ExportOptions,
  type Compression,
  type GrantInfo,
  type GrantRequest,
  type ImportOptions,
  type Memory,
  type OperationOptions,
  type OwnMemory,
  type Region,
  type RegionInfo,
  type RemoteInfo,
  type RemoteRegion,
  type ReplicaInfo,
  type ReplicaOptions,
  type ReplicatedExportOptions,
  type ReplicatedRegion,
  type Rights,
  type SyncOptions,
  type TransferOptions,
  type VersionedOptions,
  type VersionedRead,
} from './memory.js'
export type { Place } from './memory/single.js'
export type { Codec, CodecOption } from './mesh/codec.js'
export {
  type ClientOf,
  type ContractShape,
  contract,
  type HandlersOf,
  type InputOf,
  type ItemShape,
  type Operation,
  type OutputOf,
  type PlainType,
  type ReplyShape,
  type Shape,
  type,
} from './mesh/contract.js'
export type { CompleteMessage, PickMessage } from './mesh/diagnostics.js'
export type {
  BackpressureEvent,
  BreakerEvent,
  ChangeEvent,
  LoopEvent,
  MeshEvents,
  ThreadEndedEvent,
} from './mesh/events.js'
export type { Logger } from './mesh/logger.js'
export type { AttachOptions, DeadLetterOptions, JoinTarget, OpenOptions } from './mesh/options.js'
export type { InstancePatch, Registration } from './mesh/registration.js'
export type { CompleteOptions, PickOptions, Route, WaitOptions } from './mesh/route.js'
export type { SchemaIssue, SchemaResult, StandardSchema } from './mesh/standard-schema.js'
export type { RequestSpan, TraceContext, Tracing } from './mesh/trace.js'
export { Mesh, type RegisterOptions } from './mesh.js'
export type { ConfigChange } from './config/changes.js'
export type { AnswerWindow } from './reload/bounds.js'
export type { Judgement } from './reload/guard.js'
export type { MeshConfig, MeshReloadOptions, ServiceConfig } from './reload/mesh-reload.js'
export type { ReloadReport } from './reload/report.js'
export type { ShadowedService, ShadowReport } from './reload/shadow.js'
export type { Counter, ExemplarIds, Gauge, Histogram, Labels, Metrics, MetricsFormat } from './metrics.js'
export type { Context, Handler, RequestOptions, ServiceOptions, StreamOptions } from './service.js'
