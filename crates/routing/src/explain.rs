//! Why an instance was picked: the last 1,024 picks, recorded as they happened.

use linkmesh_registry::{Breaker, Health};
use serde::Serialize;

use crate::candidate::{Candidate, Filter, Trace};
use crate::policy::Balancer;
use crate::sync::{AtomicU64, Ordering, fence};

/// Picks that are remembered.
pub const REMEMBERED_PICKS: usize = 1_024;
/// Candidates that are recorded of each.
pub const RECORDED_CANDIDATES: usize = 16;

/// One pick, behind a sequence lock of its own: odd while it is written. A writer that finds it odd gives up, so two
/// can never mix; a reader that finds it changed tries again.
#[derive(Debug, Default)]
struct Entry {
    sequence: AtomicU64,
    ticket: AtomicU64,
    at_us: AtomicU64,
    /// Service and key hash.
    asked: AtomicU64,
    /// Chosen instance, balancer, number of candidates, truncated.
    chosen: AtomicU64,
    /// Thousandths of retry tokens.
    tokens: AtomicU64,
    /// Three words a candidate: handle and in-flight; latency, filter, breaker and health; score.
    candidates: [[AtomicU64; 3]; RECORDED_CANDIDATES],
}

/// A pick as it was.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Decision {
    pub(crate) ticket: u64,
    pub(crate) service: u32,
    pub(crate) key_hash: u32,
    pub(crate) chosen: u32,
    pub(crate) balancer: Balancer,
    pub(crate) at_us: u64,
    pub(crate) retry_tokens: u64,
    pub(crate) truncated: bool,
}

/// The ring. Recording takes two atomic read-modify-writes and a store a word; nobody waits.
#[derive(Debug)]
pub(crate) struct ExplainRing {
    next: AtomicU64,
    entries: Box<[Entry]>,
}

/// JSON shape of the contract's `Explanation`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The ticket that was asked about.
    pub ticket: u64,
    /// Empty when the service was removed since.
    pub service: String,
    /// Time of the pick, microseconds.
    pub at_us: u64,
    /// Balancer of the service; a key overrules it.
    pub balancer: Balancer,
    /// 0 = no affinity.
    pub key_hash: u32,
    /// Handle of the picked instance.
    pub chosen: u32,
    /// True when the service had more candidates than are recorded: more than 16, or ones that the balancer did not
    /// look at (two random choices look at two).
    pub truncated: bool,
    /// Those that were looked at, in that order.
    pub candidates: Vec<ExplainedCandidate>,
    /// Retry tokens at the pick.
    pub retry_budget: f64,
    #[serde(skip)]
    pub(crate) service_handle: u32,
}

/// One candidate of an [`Explanation`].
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExplainedCandidate {
    /// Its handle.
    pub instance: u32,
    /// Why it could not be chosen.
    pub filter: Option<Filter>,
    /// Lower is better; `None` when the balancer does not score, -1 for a probe that is due.
    pub score: Option<f64>,
    /// Before this request.
    pub in_flight: u32,
    /// Latency estimate, microseconds. An f32, written exactly.
    pub latency_us: f64,
    /// Breaker before this request.
    pub breaker: Breaker,
    /// Health.
    pub health: Health,
}

impl ExplainRing {
    pub(crate) fn new() -> Self {
        Self {
            next: AtomicU64::new(0),
            entries: (0..REMEMBERED_PICKS).map(|_| Entry::default()).collect(),
        }
    }

    /// Remembers a pick. Dropped when a writer that was overtaken by 1,024 picks still holds the entry.
    #[inline]
    pub(crate) fn record(&self, decision: &Decision, trace: &Trace) {
        let at = self.next.fetch_add(1, Ordering::Relaxed) as usize % REMEMBERED_PICKS;
        let entry = &self.entries[at];
        let seen = entry.sequence.load(Ordering::Relaxed);
        // Acquire on success: our stores come after the odd number.
        if seen & 1 == 1
            || entry
                .sequence
                .compare_exchange(seen, seen + 1, Ordering::Acquire, Ordering::Relaxed)
                .is_err()
        {
            return;
        }
        // A reader that sees one of the words below sees the odd number, too.
        fence(Ordering::Release);
        let set = |word: &AtomicU64, value: u64| word.store(value, Ordering::Relaxed);
        set(&entry.ticket, decision.ticket);
        set(&entry.at_us, decision.at_us);
        set(
            &entry.asked,
            u64::from(decision.service) << 32 | u64::from(decision.key_hash),
        );
        let shape = (trace.len() as u64) << 8
            | u64::from(decision.truncated) << 16
            | decision.balancer as u64;
        set(&entry.chosen, u64::from(decision.chosen) << 32 | shape);
        set(&entry.tokens, decision.retry_tokens);
        for (words, candidate) in entry.candidates.iter().zip(trace.iter()) {
            set(
                &words[0],
                u64::from(candidate.handle) << 32 | u64::from(candidate.in_flight),
            );
            let state = candidate.filter.map_or(0, |filter| filter as u64)
                | (candidate.breaker as u64) << 8
                | (candidate.health as u64) << 16;
            set(
                &words[1],
                state << 32 | u64::from(candidate.latency_us.to_bits()),
            );
            set(&words[2], candidate.score.to_bits());
        }
        entry.sequence.store(seen + 2, Ordering::Release);
    }

    /// The pick that gave a ticket, the newest if several did. Looks at every entry: cold.
    pub(crate) fn find(&self, ticket: u64) -> Option<Explanation> {
        if ticket == 0 {
            return None;
        }
        self.entries
            .iter()
            .filter(|entry| entry.ticket.load(Ordering::Relaxed) == ticket)
            .find_map(|entry| entry.read().filter(|found| found.ticket == ticket))
    }
}

impl Entry {
    /// `None` while it is being written; a reader tries as often as there may be writers in its way.
    fn read(&self) -> Option<Explanation> {
        for _ in 0..8 {
            let before = self.sequence.load(Ordering::Acquire);
            if before & 1 == 1 {
                std::hint::spin_loop();
                continue;
            }
            let read = self.copy();
            // The loads above stay above the second look at the sequence.
            fence(Ordering::Acquire);
            if self.sequence.load(Ordering::Relaxed) == before {
                return Some(read);
            }
        }
        None
    }

    fn copy(&self) -> Explanation {
        let get = |word: &AtomicU64| word.load(Ordering::Relaxed);
        let (asked, chosen) = (get(&self.asked), get(&self.chosen));
        let count = (chosen >> 8 & 255) as usize;
        let candidates = self.candidates.iter().take(count).map(|words| {
            let (who, state, score) = (
                get(&words[0]),
                get(&words[1]),
                f64::from_bits(get(&words[2])),
            );
            ExplainedCandidate {
                instance: (who >> 32) as u32,
                filter: Filter::from_code((state >> 32) as u8),
                score: score.is_finite().then_some(score),
                in_flight: who as u32,
                latency_us: f64::from(f32::from_bits(state as u32)),
                breaker: match state >> 40 & 255 {
                    0 => Breaker::Closed,
                    1 => Breaker::Open,
                    _ => Breaker::HalfOpen,
                },
                health: match state >> 48 & 255 {
                    0 => Health::Healthy,
                    1 => Health::Degraded,
                    2 => Health::Draining,
                    _ => Health::Dead,
                },
            }
        });
        Explanation {
            ticket: get(&self.ticket),
            service: String::new(),
            at_us: get(&self.at_us),
            balancer: Balancer::from_code(chosen as u8),
            key_hash: asked as u32,
            chosen: (chosen >> 32) as u32,
            truncated: chosen >> 16 & 1 == 1,
            candidates: candidates.collect(),
            retry_budget: get(&self.tokens) as f64 / 1_000.0,
            service_handle: (asked >> 32) as u32,
        }
    }
}

/// Puts a candidate into the trace, once; the chosen one replaces the last when there is no room.
pub(crate) fn note(trace: &mut Trace, candidate: &Candidate, chosen: bool) {
    if trace.iter().any(|noted| noted.handle == candidate.handle) {
        return;
    }
    if trace.is_full() && chosen {
        trace.pop();
    }
    let _ = trace.try_push(*candidate);
}
