//! One node to reach and keep: which address is next, and when.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::backoff::Backoff;
use crate::core::{PeerSlot, Random, Target};
use crate::relay::is_virtual;

/// Addresses one target may have.
pub const MAX_ADDRESSES: usize = 16;
/// Connections one target may have.
pub const MAX_CONNECTIONS: u8 = 4;

/// Before a direct address is tried again while a relayed one stands: twice as long after each attempt.
const FIRST_RETURN: Duration = Duration::from_secs(5);
const LONGEST_RETURN: Duration = Duration::from_secs(300);

/// What a target wants done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Dial this address.
    Dial(SocketAddr),
    /// Look again then.
    Wait(Instant),
    /// Nothing: it has what it wants.
    Rest,
}

/// The state of a target between attempts. Sans-IO: told what happened, asked what to do.
#[derive(Debug)]
pub(crate) struct TargetState {
    pub(crate) target: Target,
    /// The address of the next attempt.
    next: usize,
    /// Attempts since the last success, in this round over the addresses.
    tried: usize,
    /// Whether every failure of this round was one that time does not heal.
    hopeless: bool,
    /// Attempts under way.
    dialling: u8,
    /// Connections that stand.
    connected: u8,
    /// Where the latest of them was reached.
    pub(crate) latest: Option<SocketAddr>,
    /// The connection that the attempt under way is to replace.
    replacing: Option<PeerSlot>,
    backoff: Backoff,
    retry_at: Option<Instant>,
    /// When a direct address is tried again, and how long to wait after that.
    return_at: Option<Instant>,
    return_wait: Duration,
}

/// What a failed attempt means for the target.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failed {
    /// Another attempt follows after this wait (none: at once, at the next address).
    Retry(Duration),
    /// It is given up.
    GivenUp,
}

impl TargetState {
    /// # Errors
    /// The name of the field that is out of its range.
    pub(crate) fn new(target: Target) -> Result<Self, &'static str> {
        // Whoever is known by id may still be looked for: see `readdress`.
        let nowhere = target.addresses.is_empty() && target.expected.is_none();
        if nowhere || target.addresses.len() > MAX_ADDRESSES {
            return Err("addresses");
        }
        if target.connections == 0 || target.connections > MAX_CONNECTIONS {
            return Err("connections");
        }
        Ok(Self {
            target,
            next: 0,
            tried: 0,
            hopeless: true,
            dialling: 0,
            connected: 0,
            latest: None,
            replacing: None,
            backoff: Backoff::default(),
            retry_at: None,
            return_at: None,
            return_wait: FIRST_RETURN,
        })
    }

    /// What to do now. A `Dial` counts as under way until `connected` or `failed` says otherwise.
    pub(crate) fn step(&mut self, now: Instant) -> Step {
        // While nothing stands yet, one attempt at a time: a node that is down costs one handshake, not several.
        let wanted = if self.connected == 0 {
            1
        } else {
            self.target.connections
        };
        if self.connected + self.dialling >= wanted {
            return Step::Rest;
        }
        let Some(&address) = self.target.addresses.get(self.next) else {
            return Step::Rest;
        };
        match self.retry_at {
            Some(at) if at > now => Step::Wait(at),
            _ => {
                self.retry_at = None;
                self.dialling += 1;
                Step::Dial(address)
            }
        }
    }

    /// Other addresses from now on, best first, perhaps none yet. What is new is tried at once.
    ///
    /// # Errors
    /// When there are too many: nothing is changed then.
    pub(crate) fn readdress(&mut self, addresses: Vec<SocketAddr>) -> Result<(), &'static str> {
        if addresses.len() > MAX_ADDRESSES {
            return Err("addresses");
        }
        let current = self.target.addresses.get(self.next).copied();
        let known = |address: &SocketAddr| self.target.addresses.contains(address);
        let fresh = addresses.iter().position(|address| !known(address));
        if fresh.is_some() {
            (self.tried, self.retry_at) = (0, None);
        }
        let place = |address| addresses.iter().position(|one| *one == address);
        // Where nothing stands yet, what has just been found is the best hope.
        let waiting = self.connected == 0 && self.dialling == 0;
        let next = if waiting { fresh } else { None };
        self.next = next.or(current.and_then(place)).unwrap_or(0);
        self.target.addresses = addresses;
        Ok(())
    }

    /// An attempt at this address worked. The connection that it replaces, if any, is to be left.
    pub(crate) fn connected(&mut self, address: SocketAddr) -> Option<PeerSlot> {
        self.dialling = self.dialling.saturating_sub(1);
        self.connected += 1;
        self.tried = 0;
        self.hopeless = true;
        self.backoff.succeeded();
        if let Some(at) = self.target.addresses.iter().position(|one| *one == address) {
            self.next = at;
        }
        if !is_virtual(&address) {
            (self.return_at, self.return_wait) = (None, FIRST_RETURN);
        }
        self.replacing.take()
    }

    /// A connection is to go over this address instead. The old one stays until the new one stands. False when an attempt is
    /// under way already, or the address is none of the target's.
    pub(crate) fn move_to(&mut self, slot: PeerSlot, address: SocketAddr) -> bool {
        let at = self.target.addresses.iter().position(|one| *one == address);
        match at {
            Some(at) if self.dialling == 0 && self.replacing.is_none() => {
                self.replacing = Some(slot);
                self.dialling += 1;
                self.next = at;
                true
            }
            _ => false,
        }
    }

    /// The path of a connection is impaired: where to try instead. One attempt at a time, and the old connection stays until
    /// the new one stands.
    pub(crate) fn fail_over(&mut self, slot: PeerSlot) -> Option<SocketAddr> {
        if self.target.addresses.len() < 2 || self.dialling > 0 || self.replacing.is_some() {
            return None;
        }
        self.replacing = Some(slot);
        self.dialling += 1;
        self.next = (self.next + 1) % self.target.addresses.len();
        Some(self.target.addresses[self.next])
    }

    /// A connection goes over a relay: the direct address to try instead, from time to time. The old connection stays until the
    /// new one stands.
    pub(crate) fn return_to_direct(&mut self, now: Instant, slot: PeerSlot) -> Option<SocketAddr> {
        let at = *self.return_at.get_or_insert(now + self.return_wait);
        if at > now || self.dialling > 0 || self.replacing.is_some() {
            return None;
        }
        self.return_wait = (self.return_wait * 2).min(LONGEST_RETURN);
        self.return_at = Some(now + self.return_wait);
        let addresses = &self.target.addresses;
        self.next = addresses.iter().position(|address| !is_virtual(address))?;
        self.replacing = Some(slot);
        self.dialling += 1;
        Some(addresses[self.next])
    }

    /// The attempt failed. `retryable` is whether time may heal it.
    pub(crate) fn failed(&mut self, now: Instant, retryable: bool, random: &mut Random) -> Failed {
        self.dialling = self.dialling.saturating_sub(1);
        self.replacing = None;
        self.next = (self.next + 1) % self.target.addresses.len().max(1);
        self.tried += 1;
        self.hopeless &= !retryable;
        if self.tried < self.target.addresses.len() {
            return Failed::Retry(Duration::ZERO);
        }
        let hopeless = std::mem::replace(&mut self.hopeless, true);
        self.tried = 0;
        if self.connected == 0 && (hopeless || !self.target.persistent) {
            return Failed::GivenUp;
        }
        let wait = self.backoff.failed(random);
        self.retry_at = Some(now + wait);
        Failed::Retry(wait)
    }

    /// A connection that stood is lost; `silent` is its address if nothing was heard from there any more. Whether the target is to be
    /// kept.
    pub(crate) fn lost(
        &mut self,
        now: Instant,
        silent: Option<SocketAddr>,
        random: &mut Random,
    ) -> bool {
        self.connected = self.connected.saturating_sub(1);
        if !self.target.persistent {
            return self.connected + self.dialling > 0;
        }
        let addresses = &self.target.addresses;
        let place = |silent| addresses.iter().position(|one| *one == silent);
        if self.dialling == 0
            && let Some(at) = silent.and_then(place)
        {
            // The node may be there, and only the way to this address dead: finding that out would take a whole handshake's limit.
            self.next = (at + 1) % addresses.len();
        }
        // Else the first attempt after a loss goes to the address that worked, at once but for a jitter that keeps the peers of a
        // restarted node apart.
        self.retry_at = Some(now + Duration::from_micros(random.below(20_000)));
        true
    }

    /// A dial could not even begin (a limit of this side stands against it): again a little later.
    pub(crate) fn postponed(&mut self, now: Instant, random: &mut Random) -> Instant {
        self.dialling = self.dialling.saturating_sub(1);
        let at = now + Duration::from_millis(10 + random.below(40));
        self.retry_at = Some(at);
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::NodeId;

    fn addresses(count: u16) -> Vec<SocketAddr> {
        (0..count)
            .map(|port| SocketAddr::from(([10, 0, 0, 1], 7000 + port)))
            .collect()
    }

    fn state(count: u16, connections: u8) -> TargetState {
        TargetState::new(Target {
            addresses: addresses(count),
            expected: None,
            connections,
            persistent: true,
        })
        .unwrap()
    }

    #[test]
    fn a_failed_address_is_followed_by_the_next_and_a_failed_round_by_a_wait() {
        let (now, mut random) = (Instant::now(), Random::new(3));
        let mut state = state(3, 1);
        for port in 0..3 {
            assert_eq!(state.step(now), Step::Dial(addresses(3)[port]));
            let failed = state.failed(now, true, &mut random);
            assert_eq!(failed == Failed::Retry(Duration::ZERO), port < 2);
        }
        let Step::Wait(at) = state.step(now) else {
            panic!("a round that failed waits")
        };
        assert_eq!(state.step(at), Step::Dial(addresses(3)[0]));
    }

    #[test]
    fn one_attempt_at_a_time_until_one_works_then_as_many_as_wanted() {
        let now = Instant::now();
        let mut state = state(1, 3);
        assert!(matches!(state.step(now), Step::Dial(_)));
        assert_eq!(state.step(now), Step::Rest);
        assert_eq!(state.connected(addresses(1)[0]), None);
        assert!(matches!(state.step(now), Step::Dial(_)));
        assert!(matches!(state.step(now), Step::Dial(_)));
        assert_eq!(state.step(now), Step::Rest);
    }

    #[test]
    fn what_time_does_not_heal_is_given_up_only_when_no_address_had_hope() {
        let (now, mut random) = (Instant::now(), Random::new(3));
        let mut all_wrong = state(2, 1);
        all_wrong.step(now);
        assert_eq!(
            all_wrong.failed(now, false, &mut random),
            Failed::Retry(Duration::ZERO)
        );
        all_wrong.step(now);
        assert_eq!(all_wrong.failed(now, false, &mut random), Failed::GivenUp);
        let mut one_down = state(2, 1);
        one_down.step(now);
        one_down.failed(now, true, &mut random);
        one_down.step(now);
        assert_ne!(one_down.failed(now, false, &mut random), Failed::GivenUp);
    }

    #[test]
    fn after_a_loss_the_address_that_worked_is_tried_first() {
        let (now, mut random) = (Instant::now(), Random::new(9));
        let mut state = state(3, 1);
        state.step(now);
        state.failed(now, true, &mut random);
        assert_eq!(state.step(now), Step::Dial(addresses(3)[1]));
        assert_eq!(state.connected(addresses(3)[1]), None);
        assert!(state.lost(now, None, &mut random));
        assert_eq!(
            state.step(now + Duration::from_millis(20)),
            Step::Dial(addresses(3)[1])
        );
    }

    #[test]
    fn after_a_silence_the_next_address_is_tried_first() {
        let (now, mut random) = (Instant::now(), Random::new(9));
        let mut state = state(3, 1);
        let later = now + Duration::from_millis(20);
        for port in [0, 1, 2, 0] {
            assert_eq!(state.step(later), Step::Dial(addresses(3)[port]));
            state.connected(addresses(3)[port]);
            assert!(state.lost(now, Some(addresses(3)[port]), &mut random));
        }
    }

    #[test]
    fn who_is_known_by_id_alone_is_dialled_when_there_is_an_address() {
        let now = Instant::now();
        let target = |expected| Target {
            addresses: Vec::new(),
            expected,
            connections: 1,
            persistent: true,
        };
        assert!(TargetState::new(target(None)).is_err());
        let mut state = TargetState::new(target(Some(NodeId([1; 32])))).unwrap();
        assert_eq!(state.step(now), Step::Rest);
        state.readdress(addresses(2)).unwrap();
        assert_eq!(state.step(now), Step::Dial(addresses(2)[0]));
        assert!(state.readdress(addresses(17)).is_err());
    }

    #[test]
    fn a_new_address_is_tried_at_once_and_the_one_that_works_is_kept() {
        let (now, mut random) = (Instant::now(), Random::new(4));
        let mut state = state(1, 1);
        state.step(now);
        state.failed(now, true, &mut random);
        assert!(matches!(state.step(now), Step::Wait(_)));
        state.readdress(addresses(3)).unwrap();
        assert_eq!(state.step(now), Step::Dial(addresses(3)[1]));
        assert_eq!(state.connected(addresses(3)[1]), None);
        state.readdress(addresses(2)).unwrap();
        state.lost(now, None, &mut random);
        let later = now + Duration::from_millis(20);
        assert_eq!(state.step(later), Step::Dial(addresses(2)[1]));
    }

    #[test]
    fn a_connection_moves_to_an_address_of_its_target_one_at_a_time() {
        let now = Instant::now();
        let mut state = state(2, 1);
        state.step(now);
        state.connected(addresses(2)[0]);
        let old = PeerSlot {
            index: 3,
            generation: 0,
        };
        assert!(!state.move_to(old, addresses(3)[2]), "none of its own");
        assert!(state.move_to(old, addresses(2)[1]));
        assert!(!state.move_to(old, addresses(2)[1]), "under way");
        assert_eq!(state.connected(addresses(2)[1]), Some(old));
    }
}
