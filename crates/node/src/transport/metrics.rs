//! What the engine of a node has counted, as series of the scrape.
//!
//! Attributes are called as in the semantic conventions of OpenTelemetry (`network.io.direction`). A counter of a node goes
//! back to zero with its connection, as every counter does with what it counts.

use std::collections::BTreeMap;

use linkmesh_metrics::Collector;
use linkmesh_transport::core::{CoreStats, Io, NodeId, PeerStats};

/// Nodes with series of their own. The totals count all of them.
pub(super) const MAX_NODES: usize = 256;

pub(super) const DIRECTION: &str = "network_io_direction";

/// The connections of one node together: most have one.
#[derive(Default)]
pub(super) struct PeerTotals {
    name: String,
    stats: PeerStats,
    health: f32,
}

/// Adds what all connections have counted.
pub(super) fn sum_peers(io: &Io<'_>, sums: &mut BTreeMap<NodeId, PeerTotals>) {
    for (slot, info) in io.peers() {
        let node = info.identity.node_id;
        if sums.len() == MAX_NODES && !sums.contains_key(&node) {
            continue;
        }
        let (Some(stats), Some(health)) = (io.stats(slot), io.health(slot)) else {
            continue;
        };
        let sum = sums.entry(node).or_insert_with(|| PeerTotals {
            name: info.identity.name.clone(),
            stats: PeerStats {
                rtt: stats.rtt,
                min_rtt: stats.min_rtt,
                mtu: stats.mtu,
                ..PeerStats::default()
            },
            health,
        });
        let all = &mut sum.stats;
        all.rtt = all.rtt.min(stats.rtt);
        all.min_rtt = all.min_rtt.min(stats.min_rtt);
        all.mtu = all.mtu.min(stats.mtu);
        all.cwnd += stats.cwnd;
        all.congestion_events += stats.congestion_events;
        all.sent_packets += stats.sent_packets;
        all.lost_packets += stats.lost_packets;
        all.lost_bytes += stats.lost_bytes;
        all.bytes_sent += stats.bytes_sent;
        all.bytes_received += stats.bytes_received;
        all.black_holes += stats.black_holes;
        sum.health = sum.health.max(health);
    }
}

/// The series of the whole engine.
pub(super) fn collect_engine(out: &mut Collector, stats: &CoreStats) {
    out.gauge(
        "linkmesh_quic_peers",
        "Nodes connected now, by connection.",
        &[],
        stats.peers as f64,
    );
    let states = [
        ("established", stats.peers),
        ("other", stats.connections.saturating_sub(stats.peers)),
    ];
    for (state, count) in states {
        out.gauge(
            "linkmesh_quic_connections",
            "QUIC connections by state; other is in its handshake or closing.",
            &[("state", state)],
            count as f64,
        );
    }
    let handshakes = [
        ("accepted", stats.accepted),
        ("dialled", stats.dialled),
        ("completed", stats.established),
        ("failed", stats.failed),
        ("retried", stats.retried),
        ("refused", stats.refused),
    ];
    for (event, count) in handshakes {
        out.counter(
            "linkmesh_quic_handshakes_total",
            "Handshakes by what became of them: retried had to validate their address, refused met a limit.",
            &[("event", event)],
            count as f64,
        );
    }
    out.counter(
        "linkmesh_quic_revoked_peers_total",
        "Connections closed because their node was revoked.",
        &[],
        stats.revoked as f64,
    );
    out.counter(
        "linkmesh_quic_failovers_total",
        "Times a node was reached at another of its addresses, or over a relay, than the time before.",
        &[],
        stats.failovers as f64,
    );
    let datagrams = [
        ("receive", stats.datagrams_received),
        ("transmit", stats.datagrams_sent),
    ];
    for (direction, count) in datagrams {
        out.counter(
            "linkmesh_quic_datagrams_total",
            "UDP datagrams.",
            &[(DIRECTION, direction)],
            count as f64,
        );
    }
}

/// The series of the nodes.
pub(super) fn collect_peers(out: &mut Collector, sums: &BTreeMap<NodeId, PeerTotals>) {
    for (
        node,
        PeerTotals {
            name,
            stats,
            health,
        },
    ) in sums
    {
        let id = node.to_string();
        let labels = [("node", &*id), ("node_name", name)];
        let gauges = [
            (
                "linkmesh_quic_rtt_seconds",
                "Smoothed round-trip time.",
                stats.rtt.as_secs_f64(),
            ),
            (
                "linkmesh_quic_rtt_min_seconds",
                "Smallest round-trip time seen on the path.",
                stats.min_rtt.as_secs_f64(),
            ),
            (
                "linkmesh_quic_congestion_window_bytes",
                "Bytes that may be under way unacknowledged.",
                stats.cwnd as f64,
            ),
            (
                "linkmesh_quic_path_mtu_bytes",
                "UDP payload that the path carries.",
                f64::from(stats.mtu),
            ),
            (
                "linkmesh_quic_path_health_ratio",
                "1 is a clean path, 0 a dead one; watched on connections that this node has dialled.",
                f64::from(*health),
            ),
        ];
        for (series, help, value) in gauges {
            out.gauge(series, help, &labels, value);
        }
        let counters = [
            (
                "linkmesh_quic_packets_sent_total",
                "Packets sent.",
                stats.sent_packets,
            ),
            (
                "linkmesh_quic_packets_lost_total",
                "Packets taken for lost, whose contents were sent again.",
                stats.lost_packets,
            ),
            (
                "linkmesh_quic_lost_bytes_total",
                "Bytes in packets taken for lost.",
                stats.lost_bytes,
            ),
            (
                "linkmesh_quic_congestion_events_total",
                "Times that loss cut the congestion window.",
                stats.congestion_events,
            ),
            (
                "linkmesh_quic_black_holes_total",
                "Times that the path stopped carrying packets of its size.",
                stats.black_holes,
            ),
        ];
        for (series, help, value) in counters {
            out.counter(series, help, &labels, value as f64);
        }
        let bytes = [
            ("receive", stats.bytes_received),
            ("transmit", stats.bytes_sent),
        ];
        for (direction, count) in bytes {
            out.counter(
                "linkmesh_quic_io_bytes_total",
                "UDP payload.",
                &[labels[0], labels[1], (DIRECTION, direction)],
                count as f64,
            );
        }
    }
}
