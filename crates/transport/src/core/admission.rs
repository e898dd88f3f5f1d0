//! Who may begin a handshake: the door before any cryptography is spent.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use quinn_proto::{Incoming, Transmit};

use super::Core;
use super::authenticator::Side;
use super::control::Control;
use super::link::{Link, Phase};
use super::peer::{PeerSlot, TargetId};
use super::send_window::SendWindow;
use crate::pool::Silence;
use crate::relay::is_virtual;

/// What may be sent to an address that has not been validated, per byte from it (RFC 9000 §8.1).
const AMPLIFICATION: usize = 3;

/// A rate with a second's worth of burst (the generic cell rate algorithm: one instant, no counter to reset).
#[derive(Debug)]
pub(super) struct Admission {
    interval: Duration,
    next: Option<Instant>,
    /// Incoming connections whose proof has not come yet.
    pub(super) unproved: usize,
    /// How many of them each source has.
    sources: HashMap<Source, usize>,
}

/// Where somebody may have many addresses at no cost: one of IPv4, a network of 64 bits of IPv6.
pub(super) type Source = u64;

fn source(ip: IpAddr) -> Source {
    match ip.to_canonical() {
        IpAddr::V4(ip) => u32::from(ip).into(),
        // The lowest IPv6 networks of all are reserved: none is taken for an IPv4 address.
        IpAddr::V6(ip) => (u128::from(ip) >> 64) as u64,
    }
}

impl Admission {
    pub(super) fn new(per_second: u32) -> Self {
        Self {
            interval: Duration::from_secs(1) / per_second.max(1),
            next: None,
            unproved: 0,
            sources: HashMap::new(),
        }
    }

    fn of(&self, source: Source) -> usize {
        self.sources.get(&source).copied().unwrap_or(0)
    }

    fn enter(&mut self, source: Source) {
        self.unproved += 1;
        *self.sources.entry(source).or_default() += 1;
    }

    fn leave(&mut self, source: Source) {
        self.unproved = self.unproved.saturating_sub(1);
        if let Entry::Occupied(mut count) = self.sources.entry(source) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }

    /// Counts one attempt. Whether it is within the rate.
    fn admit(&mut self, now: Instant) -> bool {
        let next = self.next.unwrap_or(now).max(now);
        if next - now > Duration::from_secs(1) {
            return false;
        }
        self.next = Some(next + self.interval);
        true
    }
}

impl Core {
    /// A first packet from somebody, in a datagram of `length` bytes.
    ///
    /// Dropped unanswered when there is no room: an answer would cost as much as it saves, and the client tries again by
    /// itself. Above the rate, and when half of the room is taken, a source whose address is not validated gets a Retry,
    /// which costs no state: so whoever forges addresses takes half of the room at most, and no source takes more than a
    /// quarter.
    pub(super) fn incoming(&mut self, now: Instant, incoming: Incoming, length: usize) {
        let room = self.limits.handshakes;
        let source = source(incoming.remote_address().ip());
        let full = self.links.len() >= self.limits.connections
            || self.admission.unproved >= room
            || self.admission.of(source) >= room.div_ceil(4);
        // Who listens nowhere is still met over a relay, which only members reach.
        let elsewhere = !self.accept && !is_virtual(&incoming.remote_address());
        if full || elsewhere || self.closing.is_some() {
            self.stats.refused += 1;
            self.endpoint.ignore(incoming);
            return;
        }
        let within = self.admission.unproved < room.div_ceil(2) && self.admission.admit(now);
        if !within && !incoming.remote_address_validated() {
            self.stats.retried += 1;
            let (endpoint, response) = self.response_buffer();
            match endpoint.retry(incoming, response) {
                Ok(transmit) => self.respond(transmit),
                // Cannot be: what is not validated may be retried. Then it is dropped.
                Err(error) => self.endpoint.ignore(error.into_incoming()),
            }
            return;
        }
        let Ok(config) = self.configs.server() else {
            self.stats.refused += 1;
            self.endpoint.ignore(incoming);
            return;
        };
        let validated = incoming.remote_address_validated();
        // Answers to first packets are made by the endpoint's own copy.
        self.endpoint.set_server_config(Some(config.clone()));
        let (endpoint, response) = self.response_buffer();
        match endpoint.accept(incoming, now, response, Some(config)) {
            Ok((handle, connection)) => {
                self.stats.accepted += 1;
                self.admission.enter(source);
                let slot = self.insert(now, handle, connection, Side::Server, None);
                if let Some(link) = self.links.get_mut(slot) {
                    link.source = source;
                    link.allowance = (!validated).then_some(AMPLIFICATION * length);
                }
            }
            Err(error) => {
                self.stats.failed += 1;
                if let Some(transmit) = error.response {
                    self.respond(transmit);
                }
            }
        }
    }

    /// Puts a new connection into the table.
    pub(super) fn insert(
        &mut self,
        now: Instant,
        handle: quinn_proto::ConnectionHandle,
        connection: quinn_proto::Connection,
        side: Side,
        target: Option<TargetId>,
    ) -> PeerSlot {
        let slot = self.links.vacant();
        self.links.insert(Box::new(Link {
            connection,
            handle,
            slot,
            side,
            phase: Phase::Handshake,
            target,
            streams: Vec::new(),
            control: Control::default(),
            notices: None,
            opened: [0; 2],
            taken: [0; 2],
            source: 0,
            allowance: None,
            left_first: false,
            channel: None,
            identity: None,
            info: None,
            health: None,
            silence: Silence::default(),
            give_up_at: Some(now + self.limits.hello_timeout),
            armed: None,
            send_window: SendWindow::new(self.limits.send_window),
            dirty: false,
            resumed: false,
            reason: None,
        }));
        self.watch_revocations(now);
        slot
    }

    /// A connection leaves the handshake, one way or the other: what was counted for it is given back, once.
    pub(super) fn leave_handshake(&mut self, side: Side, source: Source) {
        match side {
            Side::Server => self.admission.leave(source),
            Side::Client => self.dialling = self.dialling.saturating_sub(1),
        }
    }
}

impl Link {
    /// A datagram of so many bytes came from the peer.
    pub(super) fn earn(&mut self, length: usize) {
        if let Some(allowance) = &mut self.allowance {
            *allowance += AMPLIFICATION * length;
        }
    }

    /// Cuts a train of datagrams to what may be sent, if that is limited. What is cut off is lost, and sent again.
    ///
    /// quinn-proto keeps the same limit but for one datagram, which it always sends whole.
    pub(super) fn spend(&mut self, transmit: &mut Transmit) {
        if let Some(allowance) = &mut self.allowance {
            if transmit.size > *allowance {
                let segment = transmit.segment_size.unwrap_or(transmit.size);
                transmit.size = *allowance / segment * segment;
            }
            *allowance -= transmit.size;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_lets_a_seconds_worth_through_at_once_and_then_one_per_interval() {
        let start = Instant::now();
        let mut admission = Admission::new(100);
        let burst = (0..1000).filter(|_| admission.admit(start)).count();
        assert!((100..=102).contains(&burst), "{burst}");
        assert!(!admission.admit(start));
        let later = start + Duration::from_secs(10);
        let second = (0..1000).filter(|_| admission.admit(later)).count();
        assert_eq!(second, burst, "a quiet time earns one burst, not more");
        let steady = (0..100)
            .filter(|step| admission.admit(later + Duration::from_millis(10 * step)))
            .count();
        assert!((98..=101).contains(&steady), "{steady}");
    }
}
