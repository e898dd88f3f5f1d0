//! Circuit breaker of one instance: closed, open, half-open with leased probes. No timer: every state is worked out
//! from the time of the call.
//!
//! - **closed → open** when `consecutive_failures` requests failed in a row, or when at a failure the window holds at
//!   least `min_requests` of which `error_rate` failed, or `slow_call_rate` were slow. The run of failures catches what a rate over ten seconds hides.
//! - **open → half-open** when the open time is over and somebody wants to pick.
//! - **half-open** admits `concurrent_probes` at a time. A probe holds a leased place; the place is free again when
//!   the probe is completed or, when nobody reports, after `probe_lease_ms`.
//! - **half-open → closed** after `probes` successes; **half-open → open** at the first failure, twice as long.
//!
//! Only a probe that still holds its place decides; what was picked before the breaker opened is ignored until it
//! closes again.

use linkmesh_registry::Breaker;

use crate::policy::{BreakerPolicy, PROBE_PLACES};
use crate::sync::{AtomicU64, Ordering};
use crate::window::Window;

/// The whole state in one word, so that each change is one compare-and-swap of what was seen:
/// 2 bits state, 5 opens in a row, 17 count (failures in a row, or good probes), 40 end of the open time in ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) state: Breaker,
    pub(crate) opens: u32,
    pub(crate) count: u32,
    pub(crate) until_ms: u64,
}

pub(crate) const COUNT_MAX: u32 = (1 << 17) - 1;
const OPENS_MAX: u32 = 31;
pub(crate) const UNTIL_MASK: u64 = (1 << 40) - 1;
/// End of the open time of a breaker that was opened by hand: it does not end by itself. No clock gets there: 34 years.
const BY_HAND: u64 = UNTIL_MASK;

impl Word {
    pub(crate) const fn unpack(word: u64) -> Self {
        let state = match word & 3 {
            0 => Breaker::Closed,
            1 => Breaker::Open,
            _ => Breaker::HalfOpen,
        };
        Self {
            state,
            opens: (word >> 2) as u32 & OPENS_MAX,
            count: (word >> 7) as u32 & COUNT_MAX,
            until_ms: word >> 24,
        }
    }

    pub(crate) const fn pack(self) -> u64 {
        self.state as u64
            | (self.opens as u64) << 2
            | (self.count as u64) << 7
            | (self.until_ms & UNTIL_MASK) << 24
    }

    /// Open from now on, for twice as long as the last time in a row.
    fn opened(self, policy: &BreakerPolicy, now_us: u64) -> Self {
        let open_ms = (u64::from(policy.open_ms) << self.opens).min(u64::from(policy.max_open_ms));
        let until_ms = (now_us.div_ceil(1_000) + open_ms) & UNTIL_MASK;
        Self {
            state: Breaker::Open,
            opens: (self.opens + 1).min(OPENS_MAX),
            count: 0,
            until_ms,
        }
    }

    /// Whether the open time is over. A clock that stepped back would keep it open for longer than was ever meant:
    /// then it is over, too.
    fn is_over(self, policy: &BreakerPolicy, now_us: u64) -> bool {
        if self.until_ms == BY_HAND {
            return false;
        }
        let now_ms = now_us / 1_000;
        now_ms >= self.until_ms || self.until_ms - now_ms > u64::from(policy.max_open_ms) + 1
    }
}

/// What the breaker says to a pick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Closed: go on.
    Admit,
    /// Half-open, or open with its time over, and a probe place is free.
    Probe,
    /// Open until this time, microseconds.
    Open(u64),
    /// Half-open and every probe place is taken; the first lease ends at this time, microseconds.
    ProbeTaken(u64),
}

/// A change of state, for the event log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Transition {
    pub(crate) from: Breaker,
    pub(crate) to: Breaker,
}

/// A leased probe place: which one, and the word that proves that it is still ours. `0` words are no lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Probe {
    pub(crate) place: u32,
    pub(crate) lease: u64,
}

impl Probe {
    /// No lease: an ordinary request.
    pub(crate) const NONE: Self = Self { place: 0, lease: 0 };

    #[inline]
    pub(crate) fn is_held(self) -> bool {
        self.lease != 0
    }
}

/// State of one instance's breaker. 160 bytes, all atomic.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct CircuitBreaker {
    word: AtomicU64,
    window: Window,
    /// Leases of probe places: end in microseconds (48 bits, nine years), sequence number (16 bits) above; 0 = free.
    /// The sequence keeps a late completion from freeing a place that was leased again.
    places: [AtomicU64; PROBE_PLACES],
    sequence: AtomicU64,
    /// Good answers only, by whether they were slow; empty unless the policy has `slow_call_ms`.
    slow: Window,
}

const LEASE_BITS: u32 = 48;
const LEASE_MASK: u64 = (1 << LEASE_BITS) - 1;

impl CircuitBreaker {
    /// Closed, with nothing remembered. For an instance that is not published yet.
    pub(crate) fn reset(&self) {
        self.word.store(0, Ordering::Relaxed);
        self.free_places();
        self.window.reset();
        self.slow.reset();
    }

    /// Opens it until further notice, or closes it with nothing remembered. What it changed, if anything.
    #[cold]
    pub(crate) fn force(&self, to: Breaker) -> Option<Transition> {
        let word = Word {
            state: to,
            opens: 0,
            count: 0,
            until_ms: if to == Breaker::Open { BY_HAND } else { 0 },
        };
        self.window.reset();
        // AcqRel: who sees the new state sees the empty window.
        let before = Word::unpack(self.word.swap(word.pack(), Ordering::AcqRel));
        // Probes that are under way decide nothing any more.
        self.free_places();
        (before.state != to).then_some(Transition {
            from: before.state,
            to,
        })
    }

    /// State as last written; an open one whose time is over still says open.
    #[inline]
    pub(crate) fn state(&self) -> Breaker {
        Word::unpack(self.word.load(Ordering::Acquire)).state
    }

    /// Whether a pick may go to this instance now. Changes nothing.
    #[inline]
    pub(crate) fn verdict(&self, policy: &BreakerPolicy, now_us: u64) -> Verdict {
        let word = self.word.load(Ordering::Acquire);
        if word & 3 == Breaker::Closed as u64 || !policy.enabled {
            return Verdict::Admit;
        }
        self.verdict_when_not_closed(policy, Word::unpack(word), now_us)
    }

    #[cold]
    fn verdict_when_not_closed(&self, policy: &BreakerPolicy, word: Word, now_us: u64) -> Verdict {
        if word.state == Breaker::Open {
            return if word.is_over(policy, now_us) {
                Verdict::Probe
            } else {
                Verdict::Open(word.until_ms * 1_000)
            };
        }
        let mut first = u64::MAX;
        for place in &self.places[..policy.concurrent_probes as usize] {
            let lease = place.load(Ordering::Acquire);
            if Self::is_free(lease, policy, now_us) {
                return Verdict::Probe;
            }
            first = first.min(lease & LEASE_MASK);
        }
        Verdict::ProbeTaken(first)
    }

    /// A lease is free when it is none, over, or longer than leases are (the clock stepped back).
    fn is_free(lease: u64, policy: &BreakerPolicy, now_us: u64) -> bool {
        let until = lease & LEASE_MASK;
        lease == 0 || until <= now_us || until - now_us > u64::from(policy.probe_lease_ms) * 1_000
    }

    /// After [`Verdict::Probe`]: takes a place, moving open to half-open first. `None` when others were faster.
    /// At most `concurrent_probes` callers hold a lease at one time.
    #[cold]
    pub(crate) fn lease_probe(
        &self,
        policy: &BreakerPolicy,
        now_us: u64,
    ) -> Option<(Probe, Option<Transition>)> {
        let mut transition = None;
        let seen = self.word.load(Ordering::Acquire);
        let word = Word::unpack(seen);
        match word.state {
            // Closed meanwhile: the caller looks again.
            Breaker::Closed => return None,
            Breaker::Open => {
                if !word.is_over(policy, now_us) {
                    return None;
                }
                let half_open = Word {
                    state: Breaker::HalfOpen,
                    count: 0,
                    ..word
                };
                // AcqRel: whoever sees half-open also sees the places that were freed when it opened.
                if self
                    .word
                    .compare_exchange(seen, half_open.pack(), Ordering::AcqRel, Ordering::Acquire)
                    .is_ok()
                {
                    transition = Some(Transition {
                        from: Breaker::Open,
                        to: Breaker::HalfOpen,
                    });
                }
            }
            Breaker::HalfOpen => {}
        }
        // Relaxed: only uniqueness counts. 65,536 leases later the number comes back; a lease ends long before.
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
        let until = now_us.saturating_add(u64::from(policy.probe_lease_ms) * 1_000) & LEASE_MASK;
        let lease = sequence << LEASE_BITS | until.max(1);
        for (place, cell) in self.places[..policy.concurrent_probes as usize]
            .iter()
            .enumerate()
        {
            let held = cell.load(Ordering::Acquire);
            if Self::is_free(held, policy, now_us)
                // AcqRel: the places are the mutual exclusion of half-open; one winner per free place.
                && cell.compare_exchange(held, lease, Ordering::AcqRel, Ordering::Acquire).is_ok()
            {
                return Some((
                    Probe {
                        place: place as u32,
                        lease,
                    },
                    transition,
                ));
            }
        }
        // The move to half-open stands; the transition must not get lost with the probe.
        transition.map(|transition| (Probe::NONE, Some(transition)))
    }

    /// Gives a place back. False when the lease was over and somebody else holds it, or the breaker opened again.
    pub(crate) fn release_probe(&self, probe: Probe) -> bool {
        probe.lease != 0
            && self.places.get(probe.place as usize).is_some_and(|place| {
                // AcqRel: the next holder comes after everything this one did.
                place
                    .compare_exchange(probe.lease, 0, Ordering::AcqRel, Ordering::Acquire)
                    .is_ok()
            })
    }

    /// Learns that a request ended well (`true`) or badly. `probe` is the lease it was picked with, if any.
    #[inline]
    pub(crate) fn record(
        &self,
        policy: &BreakerPolicy,
        ok: bool,
        probe: Probe,
        now_us: u64,
    ) -> Option<Transition> {
        if !policy.enabled {
            return None;
        }
        if probe.is_held() {
            return self.record_probe(policy, ok, probe, now_us);
        }
        let mut seen = self.word.load(Ordering::Acquire);
        if seen & 3 != Breaker::Closed as u64 {
            return None;
        }
        self.window.record(policy.window_ms, ok, now_us);
        if ok {
            // The common case writes nothing: no run of failures to end.
            while seen & 3 == Breaker::Closed as u64 && Word::unpack(seen).count != 0 {
                let word = Word {
                    count: 0,
                    ..Word::unpack(seen)
                };
                match self.word.compare_exchange_weak(
                    seen,
                    word.pack(),
                    Ordering::AcqRel,
                    Ordering::Acquire,
                ) {
                    Ok(_) => break,
                    Err(now) => seen = now,
                }
            }
            return None;
        }
        self.record_failure(policy, seen, now_us)
    }

    /// Learns how long a good answer took, of a request that was no probe. Only for a policy with `slow_call_ms`.
    #[cold]
    pub(crate) fn record_duration(
        &self,
        policy: &BreakerPolicy,
        slow: bool,
        now_us: u64,
    ) -> Option<Transition> {
        if !policy.enabled || self.state() != Breaker::Closed {
            return None;
        }
        self.slow.record(policy.window_ms, !slow, now_us);
        let (total, slow_ones) = self.slow.totals(policy.window_ms, now_us);
        if !slow
            || total < u64::from(policy.min_requests)
            || (slow_ones as f64) < policy.slow_call_rate * total as f64
        {
            return None;
        }
        let mut seen = self.word.load(Ordering::Acquire);
        loop {
            let word = Word::unpack(seen);
            if word.state != Breaker::Closed {
                return None;
            }
            let next = Word { opens: 0, ..word }.opened(policy, now_us);
            // AcqRel on success: who sees the new state sees the window that led to it.
            match self.word.compare_exchange_weak(
                seen,
                next.pack(),
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => {
                    return Some(Transition {
                        from: Breaker::Closed,
                        to: Breaker::Open,
                    });
                }
                Err(now) => seen = now,
            }
        }
    }

    #[cold]
    fn record_failure(
        &self,
        policy: &BreakerPolicy,
        mut seen: u64,
        now_us: u64,
    ) -> Option<Transition> {
        let bad_window = self.window.is_bad(policy, now_us);
        loop {
            let word = Word::unpack(seen);
            if word.state != Breaker::Closed {
                return None;
            }
            let failures = (word.count + 1).min(COUNT_MAX);
            let run = policy.consecutive_failures != 0 && failures >= policy.consecutive_failures;
            let next = if run || bad_window {
                Word { opens: 0, ..word }.opened(policy, now_us)
            } else {
                Word {
                    count: failures,
                    ..word
                }
            };
            // AcqRel on success: who sees the new state sees the window that led to it.
            match self.word.compare_exchange_weak(
                seen,
                next.pack(),
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) if next.state == Breaker::Open => {
                    return Some(Transition {
                        from: Breaker::Closed,
                        to: Breaker::Open,
                    });
                }
                Ok(_) => return None,
                Err(now) => seen = now,
            }
        }
    }

    #[cold]
    fn record_probe(
        &self,
        policy: &BreakerPolicy,
        ok: bool,
        probe: Probe,
        now_us: u64,
    ) -> Option<Transition> {
        // Whoever gives the place back is the one whose result counts: once per probe.
        if !self.release_probe(probe) {
            return None;
        }
        let mut seen = self.word.load(Ordering::Acquire);
        loop {
            let word = Word::unpack(seen);
            if word.state != Breaker::HalfOpen {
                return None;
            }
            let next = if !ok {
                word.opened(policy, now_us)
            } else if word.count + 1 >= policy.probes {
                Word {
                    state: Breaker::Closed,
                    opens: 0,
                    count: 0,
                    until_ms: 0,
                }
            } else {
                Word {
                    count: word.count + 1,
                    ..word
                }
            };
            if next.state == Breaker::Closed {
                // Before the state says closed: the failures that opened it are history.
                self.window.reset();
                self.slow.reset();
            }
            match self.word.compare_exchange_weak(
                seen,
                next.pack(),
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) if next.state == word.state => return None,
                Ok(_) => {
                    // Leases of this half-open period prove nothing in the next one. A lease that is taken in it
                    // already may be wiped here, too: then its probe does not count, and no more are let through
                    // than the open time allows.
                    self.free_places();
                    return Some(Transition {
                        from: word.state,
                        to: next.state,
                    });
                }
                Err(now) => seen = now,
            }
        }
    }

    fn free_places(&self) {
        for place in &self.places {
            place.store(0, Ordering::Release);
        }
    }
}
