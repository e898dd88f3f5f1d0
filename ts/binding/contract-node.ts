/**
 * The boundary for this process as a node: its identity, its QUIC engine and its peers. Part of {@link Binding}.
 *
 * One node per mesh, shared by its threads. All functions here are cold. Those that touch keys, sockets or other nodes
 * answer with a promise of JSON; a refusal rejects with an `Error` whose message is JSON of `ErrorData`.
 */
import type { Handle, Status } from './contract.js'

export interface NodeBinding {
  /** Makes this process a node. `options`: JSON of {@link NodeOptions}. Resolves to JSON of {@link NodeInfo} when it listens. */
  nodeOpen(mesh: Handle, options: string): Promise<string>
  /** JSON of {@link NodeInfo}; '' when the mesh has no node. */
  nodeInfo(mesh: Handle): string
  /** A one-time token that lets one more process join this network. `options`: JSON of {@link InviteOptions}. */
  nodeInvite(mesh: Handle, options: string): Promise<string>
  /** Reaches a node and keeps it. `target`: JSON of {@link NodeTarget}. Resolves to JSON of {@link PeerInfo} when it is connected. */
  nodeConnect(mesh: Handle, target: string): Promise<string>
  /** Where a global address is. `options`: JSON of {@link ResolveOptions}. Resolves to JSON of {@link ResolutionInfo}. */
  nodeResolve(mesh: Handle, options: string): Promise<string>
  /** One round trip to a node's engine, connecting to it first if need be. `options`: JSON of {@link PingOptions}. Resolves to JSON of {@link PingInfo}. */
  nodePing(mesh: Handle, options: string): Promise<string>
  /** JSON array of {@link PeerInfo}. */
  nodePeers(mesh: Handle): string
  /** Id of the node behind a thread number of this mesh: 64 hex digits, or '' for a thread of this process. */
  nodeOfThread(mesh: Handle, thread: number): string
  /** Says goodbye to all peers and waits until they have what was acknowledged, at most `graceMs`. */
  nodeClose(mesh: Handle, graceMs: number): Promise<void> | Status
}

/** How a thread of the engine waits for packets. */
export type LatencyMode = 'spin' | 'adaptive' | 'block'

export interface NodeOptions {
  /** `quic://0.0.0.0:7443`, port 0 for any. Without one the node only dials. */
  listen: string[]
  /** Folder of the identity. */
  data: string
  /** Name of the network that a first node founds; at most 64 characters. */
  network: string
  latencyMode: LatencyMode
  /** Share memory with nodes of this host where the system can. */
  sameHost: boolean
  /** Largest UDP payload that path discovery may grow to, 1,200 to 65,000 bytes. */
  mtu: number
  /** Threads that send and receive packets, 1 to 16. More than one: Linux, an address to listen on, no relay. */
  engineThreads: number
  /** Forwards packets between other members that do not reach each other, for each no more than this; null for not. */
  relay: RelayQuota | null
  /** Name of this node, for people. */
  name: string
  /** The caller's clock now, milliseconds: deadlines of requests cross between nodes as what is left of them. */
  nowMs: number
}

/** What one member may have a relay forward: both directions of all its sessions together. */
export interface RelayQuota {
  /** Nodes that it may be relayed to at a time; 1 to 16,384. */
  sessions: number
  /** Packets a second, and at once; 1 to 4,294,967,295. */
  packetsPerSecond: number
  /** Bytes of UDP payload a second, and at once; 65,536 to 4,294,967,295. */
  bytesPerSecond: number
}

export interface NodeTarget {
  /** `quic://host:port`, or a global address, which is reached over a relay where there is no other way. */
  address: string
  /** For the first time: the token of {@link NodeBinding.nodeInvite}. */
  token?: string
  /** Give up connecting after this, milliseconds. */
  timeoutMs: number
}

export interface InviteOptions {
  /** How long the token may be used, milliseconds; 1,000 to 86,400,000. */
  ttlMs: number
}

export interface ResolveOptions {
  /** Global address; its asset and port say nothing about where the node is. */
  address: string
  /** Give up after this, milliseconds. */
  timeoutMs: number
}

/** Where a node is, as it says itself. */
export interface ResolutionInfo {
  /** As asked for, in its canonical text. */
  address: string
  /** 64 hex digits: what it proves when it is connected to. */
  nodeId: string
  /** How that is known: it is this node, it is connected, its record was known, or a peer knew it. */
  source: 'own' | 'connected' | 'cache' | 'peer'
  /** Id of that peer. */
  from?: string
  /** Best first. Empty for a node that only dials: it is known while it is connected. */
  endpoints: EndpointInfo[]
  /** Number of its record; the newer has the larger. */
  sequence?: number
  /** When the record ends, Unix seconds. */
  expires?: number
}

export interface EndpointInfo {
  /** The node itself listens there, or a relay that knows it. */
  kind: 'direct' | 'relay'
  /** `quic://host:port` */
  address: string
  /** Id of the relay. */
  relay?: string
}

export interface PingOptions {
  /** `quic://host:port`, or a global address. */
  address: string
  /** Give up after this, milliseconds. */
  timeoutMs: number
}

export interface PingInfo {
  /** Who answered, proved: 64 hex digits. */
  nodeId: string
  /** From this process's engine to the other's and back, microseconds. */
  rttUs: number
  /** Which way it took. */
  path: 'direct' | 'relay' | 'same-host'
  /** `quic://…`, where its packets come from: the relay's, where one is in between. */
  address: string
  /** Id of that relay. */
  relay?: string
  /** Packets of the connection since it stands, lost ones and all. */
  lostPackets: number
  sentPackets: number
}

export interface NodeInfo {
  /** 64 hex digits. */
  nodeId: string
  /** Global address of the node: stays when it moves. */
  address: string
  name: string
  network: string
  /** The addresses it listens on, with the real ports. */
  listening: string[]
  latencyMode: LatencyMode
  engineThreads: number
}

export interface PeerInfo {
  nodeId: string
  name: string
  /** `quic://…`, where its packets come from now: the relay's, where one is in between. */
  address: string
  /** Id of that relay. It carries what it cannot read. */
  relay?: string
  /** Number under which it appears among the threads of this mesh. */
  thread: number
  /** Which end of the connection this process is. */
  side: 'client' | 'server'
  /** How requests reach the other process: `shared-memory` once two nodes of one host have linked up. */
  via: 'quic' | 'shared-memory'
  rttUs: number
  lostPackets: number
  sentPackets: number
  congestionWindow: number
  bytesIn: number
  bytesOut: number
}
