//! What changed, in order: a bounded log that readers follow by sequence number.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::{Breaker, Handle, Health};

/// Which mark of a queue was passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Watermark {
    /// So many wait that it may be full soon.
    High,
    /// After that: few enough again.
    Low,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[allow(
    missing_docs,
    reason = "the variants and fields are the contract's MeshEvent, documented there"
)]
pub enum EventKind {
    ServiceAdded {
        service: Arc<str>,
    },
    ServiceRemoved {
        service: Arc<str>,
    },
    InstanceAdded {
        service: Arc<str>,
        instance: Handle,
        health: Health,
    },
    InstanceRemoved {
        service: Arc<str>,
        instance: Handle,
        health: Health,
    },
    InstanceChanged {
        service: Arc<str>,
        instance: Handle,
        health: Health,
    },
    LeaseExpired {
        service: Arc<str>,
        instance: Handle,
        health: Health,
    },
    Breaker {
        service: Arc<str>,
        instance: Handle,
        from: Breaker,
        to: Breaker,
    },
    Backpressure {
        service: Arc<str>,
        level: Watermark,
        queued: u32,
        limit: u32,
    },
    ThreadEnded {
        thread: u32,
    },
    Loop {
        thread: u32,
        blocked: bool,
        #[serde(rename = "lagUs")]
        lag_us: u32,
    },
}

impl EventKind {
    /// The service it is about.
    pub fn service(&self) -> Option<&str> {
        match self {
            Self::ServiceAdded { service }
            | Self::ServiceRemoved { service }
            | Self::InstanceAdded { service, .. }
            | Self::InstanceRemoved { service, .. }
            | Self::InstanceChanged { service, .. }
            | Self::LeaseExpired { service, .. }
            | Self::Breaker { service, .. }
            | Self::Backpressure { service, .. } => Some(service),
            Self::ThreadEnded { .. } | Self::Loop { .. } => None,
        }
    }
}

/// One change. JSON shape of the contract's `MeshEvent`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MeshEvent {
    /// 1 for the first event of the mesh, then without holes.
    pub sequence: u64,
    /// When, microseconds on the mesh's clock.
    pub at_us: u64,
    /// What.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// Events after some sequence number. JSON shape of the contract's `EventBatch`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EventBatch {
    /// Sequence of the newest event there is; 0 when there was none yet.
    pub last: u64,
    /// True when events before the first one returned were dropped.
    pub gap: bool,
    /// Oldest first.
    #[serde(serialize_with = "serialize_events")]
    pub events: Vec<MeshEvent>,
}

fn serialize_events<S: Serializer>(events: &[MeshEvent], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(events)
}

/// The newest events, a fixed number of them.
#[derive(Debug)]
pub struct EventLog {
    events: VecDeque<MeshEvent>,
    capacity: usize,
    last: u64,
}

impl EventLog {
    /// Keeps `capacity` events, at least one.
    pub fn new(capacity: usize) -> Self {
        Self {
            events: VecDeque::new(),
            capacity: capacity.max(1),
            last: 0,
        }
    }

    /// Adds one; drops the oldest when full.
    pub fn push(&mut self, at_us: u64, kind: EventKind) {
        if self.events.len() == self.capacity {
            self.events.pop_front();
        }
        self.last += 1;
        self.events.push_back(MeshEvent {
            sequence: self.last,
            at_us,
            kind,
        });
    }

    /// Everything kept after `sequence`.
    pub fn since(&self, sequence: u64) -> EventBatch {
        EventBatch {
            last: self.last,
            gap: self.gap_after(sequence),
            events: self.iter_since(sequence).cloned().collect(),
        }
    }

    /// Sequence of the newest event, 0 when there was none.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Whether an event after `sequence` was dropped.
    pub fn gap_after(&self, sequence: u64) -> bool {
        self.events
            .front()
            .is_some_and(|oldest| oldest.sequence > sequence.saturating_add(1))
    }

    /// The kept events after `sequence`, oldest first. Sequences have no holes, so this is an index.
    pub fn iter_since(&self, sequence: u64) -> impl Iterator<Item = &MeshEvent> {
        let newer = self
            .last
            .saturating_sub(sequence)
            .min(self.events.len() as u64) as usize;
        self.events.range(self.events.len() - newer..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_follower_that_fell_behind_is_told_of_the_gap() {
        let mut log = EventLog::new(4);
        assert_eq!(
            log.since(0),
            EventBatch {
                last: 0,
                gap: false,
                events: vec![]
            }
        );
        for thread in 1..=6 {
            log.push(10, EventKind::ThreadEnded { thread });
        }
        let batch = log.since(0);
        assert!(batch.gap);
        assert_eq!(
            batch
                .events
                .iter()
                .map(|event| event.sequence)
                .collect::<Vec<_>>(),
            [3, 4, 5, 6]
        );
        assert!(!log.since(2).gap);
        assert_eq!(log.since(5).events.len(), 1);
        assert_eq!(log.since(6).events.len(), 0);
        assert_eq!(log.since(u64::MAX).events.len(), 0);
    }

    #[test]
    fn json_is_the_contracts() {
        let mut log = EventLog::new(4);
        let kind = EventKind::Breaker {
            service: "pay".into(),
            instance: 131_073,
            from: Breaker::Open,
            to: Breaker::HalfOpen,
        };
        log.push(7, kind);
        assert_eq!(
            serde_json::to_value(log.since(0)).unwrap(),
            serde_json::json!({"last": 1, "gap": false, "events": [{"sequence": 1, "atUs": 7, "kind": "breaker",
                "service": "pay", "instance": 131_073, "from": "open", "to": "half-open"}]})
        );
    }
}
