//! What is counted, for metrics and for choosing paths.

use std::time::Duration;

use quinn_proto::Connection;

/// What one connection has counted since its handshake began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PeerStats {
    /// Smoothed round-trip time.
    pub rtt: Duration,
    /// The smallest round-trip time seen on this path.
    pub min_rtt: Duration,
    /// Congestion window, bytes.
    pub cwnd: u64,
    /// Times the window was cut for loss.
    pub congestion_events: u64,
    /// Packets sent on this path.
    pub sent_packets: u64,
    /// Of these, taken for lost and their contents sent again.
    pub lost_packets: u64,
    /// Bytes in lost packets.
    pub lost_bytes: u64,
    /// UDP datagrams sent.
    pub datagrams_sent: u64,
    /// UDP datagrams received.
    pub datagrams_received: u64,
    /// UDP payload bytes sent.
    pub bytes_sent: u64,
    /// UDP payload bytes received.
    pub bytes_received: u64,
    /// System calls that sent them (one carries a train of datagrams).
    pub sends: u64,
    /// Times the path stopped carrying packets of its size.
    pub black_holes: u64,
    /// UDP payload size the path carries.
    pub mtu: u16,
}

impl PeerStats {
    pub(super) fn of(connection: &Connection) -> Self {
        let stats = connection.stats();
        Self {
            rtt: stats.path.rtt,
            min_rtt: stats.path.min_rtt,
            cwnd: stats.path.cwnd,
            congestion_events: stats.path.congestion_events,
            sent_packets: stats.path.sent_packets,
            lost_packets: stats.path.lost_packets,
            lost_bytes: stats.path.lost_bytes,
            datagrams_sent: stats.udp_tx.datagrams,
            datagrams_received: stats.udp_rx.datagrams,
            bytes_sent: stats.udp_tx.bytes,
            bytes_received: stats.udp_rx.bytes,
            sends: stats.udp_tx.ios,
            black_holes: stats.path.black_holes_detected,
            mtu: stats.path.current_mtu,
        }
    }
}

/// What one engine has counted since it started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CoreStats {
    /// Peers connected now.
    pub peers: u64,
    /// Connections in any state now.
    pub connections: u64,
    /// Incoming connections taken.
    pub accepted: u64,
    /// Connections dialled.
    pub dialled: u64,
    /// Handshakes, with both proofs, that were completed.
    pub established: u64,
    /// Handshakes that failed, for whatever reason.
    pub failed: u64,
    /// First packets answered by a Retry.
    pub retried: u64,
    /// First packets dropped because of a limit.
    pub refused: u64,
    /// Peers closed because they were revoked.
    pub revoked: u64,
    /// Times a target was reached at another of its addresses, or over a relay, than the time before.
    pub failovers: u64,
    /// Notices of peers that did not hold or did not fit.
    pub notices_refused: u64,
    /// Datagrams handed in.
    pub datagrams_received: u64,
    /// Datagrams handed out.
    pub datagrams_sent: u64,
}

impl std::ops::AddAssign for CoreStats {
    fn add_assign(&mut self, other: Self) {
        self.peers += other.peers;
        self.connections += other.connections;
        self.accepted += other.accepted;
        self.dialled += other.dialled;
        self.established += other.established;
        self.failed += other.failed;
        self.retried += other.retried;
        self.refused += other.refused;
        self.revoked += other.revoked;
        self.failovers += other.failovers;
        self.notices_refused += other.notices_refused;
        self.datagrams_received += other.datagrams_received;
        self.datagrams_sent += other.datagrams_sent;
    }
}
