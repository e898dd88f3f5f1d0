//! What addresses, records and relays have counted, as series of the scrape.

use linkmesh_metrics::Collector;
use linkmesh_transport::address::{CacheStats, TranslationStats};
use linkmesh_transport::core::{Io, NodeId};
use linkmesh_transport::relay::RelayStats;

use crate::transport::NodeApp;
use crate::transport::metrics::{DIRECTION, MAX_NODES};

/// Taken while the engine is held, written after.
pub(super) struct AddressTotals {
    records: CacheStats,
    relay: RelayStats,
    /// Trust in the relays that serve this node.
    trust: Vec<(NodeId, f32)>,
}

impl AddressTotals {
    pub(super) fn of(app: &mut NodeApp, io: &mut Io<'_>) -> Self {
        let serving = app.relays.serving().take(MAX_NODES);
        let scores = app.relays.scores();
        let trust = serving.map(|(_, relay)| {
            let score = scores.get(&relay);
            (relay, score.map_or(0.5, |score| score.trust(io.now())))
        });
        Self {
            trust: trust.collect(),
            records: app.locators.stats(),
            relay: io.relay().stats(),
        }
    }

    pub(super) fn collect(&self, out: &mut Collector, translation: TranslationStats) {
        collect_translation(out, translation);
        collect_records(out, self.records);
        self.collect_relays(out);
    }

    fn collect_relays(&self, out: &mut Collector) {
        let RelayStats {
            forwarder,
            routes,
            received,
            sent,
        } = self.relay;
        out.gauge(
            "linkmesh_relay_sessions",
            "Pairs of members that this node forwards for as a relay.",
            &[],
            forwarder.sessions as f64,
        );
        out.counter(
            "linkmesh_relay_forwarded_packets_total",
            "Packets forwarded for others.",
            &[],
            forwarder.packets as f64,
        );
        out.counter(
            "linkmesh_relay_forwarded_bytes_total",
            "UDP payload forwarded for others.",
            &[],
            forwarder.bytes as f64,
        );
        let dropped = [
            ("quota", forwarder.over_quota),
            ("stray", forwarder.strays),
            ("overflow", forwarder.overflow),
        ];
        for (reason, count) in dropped {
            out.counter(
                "linkmesh_relay_dropped_packets_total",
                "Packets not forwarded: a member's quota was used up, they came from elsewhere than its connection, too many waited.",
                &[("reason", reason)],
                count as f64,
            );
        }
        out.gauge(
            "linkmesh_relay_ways",
            "Ways over relays that this node has, those included that are only ready.",
            &[],
            routes as f64,
        );
        for (direction, count) in [("receive", received), ("transmit", sent)] {
            out.counter(
                "linkmesh_relay_way_packets_total",
                "Packets of this node that relays carried.",
                &[(DIRECTION, direction)],
                count as f64,
            );
        }
        for (relay, trust) in &self.trust {
            out.gauge(
                "linkmesh_relay_trust_ratio",
                "Trust in a relay: 1 carries all, 0.5 is not known, 0 spoils what it carries.",
                &[("node", &relay.to_string())],
                f64::from(*trust),
            );
        }
    }
}

fn collect_translation(out: &mut Collector, stats: TranslationStats) {
    out.gauge(
        "linkmesh_translation_entries",
        "Addresses that lead to a connection.",
        &[],
        stats.entries as f64,
    );
    for (result, count) in [("hit", stats.hits), ("miss", stats.misses)] {
        out.counter(
            "linkmesh_translation_lookups_total",
            "Lookups of an address in the table of connections.",
            &[("result", result)],
            count as f64,
        );
    }
    for (reason, count) in [("idle", stats.expired), ("evicted", stats.evicted)] {
        out.counter(
            "linkmesh_translation_removed_total",
            "Entries given up: idle for too long, or to make room.",
            &[("reason", reason)],
            count as f64,
        );
    }
}

fn collect_records(out: &mut Collector, stats: CacheStats) {
    for (state, count) in [("known", stats.records), ("unknown", stats.negatives)] {
        out.gauge(
            "linkmesh_locator_records",
            "Addresses whose record is kept, and those that nobody knew a moment ago.",
            &[("state", state)],
            count as f64,
        );
    }
    let lookups = [
        ("hit", stats.hits),
        ("negative", stats.negative_hits),
        ("miss", stats.misses),
    ];
    for (result, count) in lookups {
        out.counter(
            "linkmesh_locator_lookups_total",
            "Lookups of a node's record.",
            &[("result", result)],
            count as f64,
        );
    }
    for (reason, count) in [("refused", stats.refused), ("evicted", stats.evicted)] {
        out.counter(
            "linkmesh_locator_dropped_total",
            "Records not kept: older than what is known or in contradiction to it, or to make room.",
            &[("reason", reason)],
            count as f64,
        );
    }
}
