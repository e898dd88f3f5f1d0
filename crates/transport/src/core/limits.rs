//! A limit on everything a peer can make this node hold.

use std::time::Duration;

/// Limits of one engine. Every one is checked before anything is allocated for its sake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections in all, those in their handshake included.
    pub connections: usize,
    /// Connections of one node identity.
    pub connections_per_node: u32,
    /// Incoming connections that have not proved themselves yet. Above, first packets are dropped unanswered; from half of it
    /// on a source must show that it receives there; one source has a quarter of it at most.
    pub handshakes: usize,
    /// First packets a second above which a source must show that it receives there (a Retry, RFC 9000 §8.1.2) before any
    /// cryptography is spent on it.
    pub handshakes_per_second: u32,
    /// Handshakes of this node's own at a time.
    pub dials: usize,
    /// Targets to keep connected.
    pub targets: usize,
    /// Streams that a peer may have open, per direction kind.
    pub streams: u32,
    /// Bytes that a peer may send on one stream ahead of the application.
    pub stream_window: u32,
    /// Bytes that a peer may send on all streams together ahead of the application.
    pub receive_window: u32,
    /// The same before the peer has proved itself.
    pub unproved_window: u32,
    /// Bytes written and not acknowledged yet, per connection. A write above is cut short. A connection begins with a
    /// mebibyte and gets more where the path holds more.
    pub send_window: u64,
    /// The largest UDP payload that path discovery may grow to, 1200 to 65,000 bytes. 1452 suits Ethernet.
    pub mtu: u16,
    /// A connection that hears nothing for this long is dead.
    pub idle_timeout: Duration,
    /// How often a silent connection says that it is alive. The dialling side does; none when `None`.
    pub keep_alive: Option<Duration>,
    /// How long a handshake with both proofs may take.
    pub hello_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 16_384,
            connections_per_node: 16,
            handshakes: 256,
            handshakes_per_second: 256,
            dials: 64,
            targets: 16_384,
            streams: 16,
            stream_window: 8 << 20,
            receive_window: 16 << 20,
            unproved_window: 32 << 10,
            send_window: 8 << 20,
            mtu: 1452,
            idle_timeout: Duration::from_secs(30),
            keep_alive: Some(Duration::from_secs(10)),
            hello_timeout: Duration::from_secs(5),
        }
    }
}

/// A limit that cannot be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitError {
    /// The field of [`Limits`].
    pub field: &'static str,
    /// The smallest value allowed.
    pub min: u64,
    /// The largest value allowed.
    pub max: u64,
}

impl std::fmt::Display for LimitError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            out,
            "{} must be from {} to {}",
            self.field, self.min, self.max
        )
    }
}

impl std::error::Error for LimitError {}

impl Limits {
    /// Whether each limit is in its range.
    ///
    /// # Errors
    /// The first field that is not.
    pub fn check(&self) -> Result<(), LimitError> {
        let ranges = [
            ("connections", self.connections as u64, 1, 1 << 20),
            (
                "connections_per_node",
                self.connections_per_node.into(),
                1,
                1 << 20,
            ),
            ("handshakes", self.handshakes as u64, 1, 1 << 16),
            (
                "handshakes_per_second",
                self.handshakes_per_second.into(),
                1,
                1 << 20,
            ),
            ("dials", self.dials as u64, 1, 1 << 16),
            ("targets", self.targets as u64, 1, 1 << 20),
            ("streams", self.streams.into(), 2, 1024),
            ("stream_window", self.stream_window.into(), 1 << 10, 1 << 28),
            (
                "receive_window",
                self.receive_window.into(),
                1 << 10,
                1 << 30,
            ),
            (
                "unproved_window",
                self.unproved_window.into(),
                17 << 10,
                1 << 20,
            ),
            ("send_window", self.send_window, 1 << 10, 1 << 30),
            ("mtu", self.mtu.into(), 1200, 65_000),
            (
                "idle_timeout",
                self.idle_timeout.as_millis() as u64,
                10,
                3_600_000,
            ),
            (
                "keep_alive",
                self.keep_alive.map_or(10, |every| every.as_millis() as u64),
                1,
                3_600_000,
            ),
            (
                "hello_timeout",
                self.hello_timeout.as_millis() as u64,
                10,
                600_000,
            ),
        ];
        match ranges
            .into_iter()
            .find(|&(_, value, min, max)| value < min || value > max)
        {
            Some((field, _, min, max)) => Err(LimitError { field, min, max }),
            None => Ok(()),
        }
    }
}
