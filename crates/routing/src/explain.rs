//! The last 1,024 picks of each thread, recorded as they happened. What is made of them: [`crate::explanation`].

use zerocopy::FromZeros;

use crate::candidate::{Candidate, Filter};
use crate::explanation::{ExplainedCandidate, Explanation};
use crate::policy::Balancer;
use crate::qos::Qos;
use crate::sync::{AtomicU64, Ordering, fence};

/// Picks of a thread that are remembered.
pub const REMEMBERED_PICKS: usize = 1_024;
/// Candidates that are recorded of each.
pub const RECORDED_CANDIDATES: usize = 16;

/// Words of an entry: seven cache lines, of which a pick with two candidates writes two.
const WORDS: usize = 56;
/// Even while the entry is whole.
const SEQUENCE: usize = 0;
const TICKET: usize = 1;
const AT_US: usize = 2;
/// Service and key hash.
const ASKED: usize = 3;
/// Chosen instance, balancer, number of candidates, class, hedge.
const CHOSEN: usize = 4;
/// Members there were, 24 bits, and thousandths of retry tokens, 40 bits.
const MEMBERS: usize = 5;
const TOKEN_BITS: u32 = 40;
/// Three words a candidate: handle and in-flight; latency, filter, health and breaker as in its view; score.
const CANDIDATES: usize = 6;
const _: () = assert!(CANDIDATES + 3 * RECORDED_CANDIDATES <= WORDS);

/// How a pick ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Decision {
    pub(crate) ticket: u64,
    pub(crate) service: u32,
    pub(crate) key_hash: u32,
    pub(crate) chosen: u32,
    pub(crate) balancer: Balancer,
    pub(crate) class: Qos,
    pub(crate) hedge: bool,
    pub(crate) at_us: u64,
    pub(crate) retry_tokens: u64,
    /// Members there are.
    pub(crate) members: usize,
}

/// The picks of one thread, each behind a sequence lock of its own. One writer, the [`Caller`](crate::Caller) that the
/// ring belongs to, so recording is stores alone; any thread reads.
#[derive(Debug)]
pub(crate) struct ExplainRing {
    /// Zeroed by the operating system and committed page by page, as picks come.
    words: Box<[AtomicU64]>,
}

/// Entries of a ring: one more than are remembered, which the pick under way writes.
const ENTRIES: usize = REMEMBERED_PICKS + 1;

/// The entry of the pick under way: candidates go straight into the ring, as they are looked at.
#[derive(Debug)]
pub(crate) struct Trace<'a> {
    entry: &'a [AtomicU64; WORDS],
    len: usize,
    /// A candidate found no room.
    full: bool,
}

/// Memory for a trace of its own, for a look at members that is no pick.
#[derive(Debug)]
pub(crate) struct Aside([AtomicU64; WORDS]);

impl Default for Aside {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; WORDS])
    }
}

impl<'a> Trace<'a> {
    /// One that nobody reads.
    pub(crate) fn aside(Aside(entry): &'a Aside) -> Self {
        Self {
            entry,
            len: 0,
            full: false,
        }
    }

    #[inline]
    fn set(&self, index: usize, value: u64) {
        self.entry[index].store(value, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    #[inline]
    pub(crate) fn has(&self, handle: u32) -> bool {
        self.entry[CANDIDATES..]
            .chunks_exact(3)
            .take(self.len)
            .any(|words| (words[0].load(Ordering::Relaxed) >> 32) as u32 == handle)
    }

    /// Adds a candidate that is not there yet, as long as there is room.
    #[inline]
    pub(crate) fn push(&mut self, candidate: &Candidate) {
        if self.len == RECORDED_CANDIDATES {
            self.full = true;
            return;
        }
        let at = CANDIDATES + 3 * self.len;
        self.len += 1;
        self.set(
            at,
            u64::from(candidate.handle) << 32 | u64::from(candidate.in_flight),
        );
        let filter = candidate.filter.map_or(0, |filter| filter as u64);
        let state = u64::from(candidate.state & 0xff) << 8 | filter;
        self.set(at + 1, state << 32 | u64::from(candidate.latency_bits));
        self.set(at + 2, candidate.score.to_bits());
    }

    /// Forgets the candidates so far.
    #[cold]
    pub(crate) fn clear(&mut self) {
        self.len = 0;
        self.full = false;
    }

    /// Whether a candidate found no room.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.full
    }

    /// Adds the chosen one if it is not there yet: in the place of the last when there is no room.
    #[cold]
    pub(crate) fn push_chosen(&mut self, candidate: &Candidate) {
        self.len = self.len.min(RECORDED_CANDIDATES - 1);
        self.push(candidate);
    }

    /// The pick is made: readers may have it.
    #[inline]
    pub(crate) fn finish(self, decision: &Decision) {
        self.set(TICKET, decision.ticket);
        self.set(AT_US, decision.at_us);
        self.set(
            ASKED,
            u64::from(decision.service) << 32 | u64::from(decision.key_hash),
        );
        let shape = (self.len as u64) << 8
            | (decision.class as u64) << 17
            | u64::from(decision.hedge) << 20
            | decision.balancer as u64;
        self.set(CHOSEN, u64::from(decision.chosen) << 32 | shape);
        let tokens = decision.retry_tokens.min((1 << TOKEN_BITS) - 1);
        self.set(MEMBERS, (decision.members as u64) << TOKEN_BITS | tokens);
        let odd = self.entry[SEQUENCE].load(Ordering::Relaxed);
        self.entry[SEQUENCE].store(odd + 1, Ordering::Release);
    }
}

impl ExplainRing {
    /// `None` when there is no memory for it.
    pub(crate) fn new() -> Option<Self> {
        let words = <[AtomicU64]>::new_box_zeroed_with_elems(ENTRIES * WORDS).ok()?;
        Some(Self { words })
    }

    /// The entry of pick number `at` of this thread. One writer at a time. A pick that is refused leaves its entry
    /// unfinished, and nobody reads it.
    #[inline]
    pub(crate) fn begin(&self, at: usize) -> Trace<'_> {
        let entry = self.words[at % ENTRIES * WORDS..]
            .first_chunk::<WORDS>()
            .expect("the ring is made of whole entries");
        let odd = entry[SEQUENCE].load(Ordering::Relaxed) | 1;
        entry[SEQUENCE].store(odd, Ordering::Relaxed);
        // A reader that sees one of the words written from here on sees the odd number, too.
        fence(Ordering::Release);
        Trace {
            entry,
            len: 0,
            full: false,
        }
    }

    /// The picks that are remembered, oldest first. One that is being written meanwhile is left out. Cold.
    pub(crate) fn recorded(&self) -> Vec<Explanation> {
        let mut picks: Vec<_> = self
            .words
            .chunks_exact(WORDS)
            .filter_map(read)
            .filter(|pick| pick.ticket != 0)
            .collect();
        picks.sort_by_key(|pick| pick.at_us);
        picks.drain(..picks.len().saturating_sub(REMEMBERED_PICKS));
        picks
    }

    /// The pick that gave a ticket. Looks at every entry: cold.
    pub(crate) fn find(&self, ticket: u64) -> Option<Explanation> {
        if ticket == 0 {
            return None;
        }
        self.words
            .chunks_exact(WORDS)
            .filter(|entry| entry[TICKET].load(Ordering::Relaxed) == ticket)
            .find_map(|entry| read(entry).filter(|found| found.ticket == ticket))
    }
}

/// `None` while it is being written: its writer is overwriting it, so it is forgotten anyway.
fn read(entry: &[AtomicU64]) -> Option<Explanation> {
    let before = entry[SEQUENCE].load(Ordering::Acquire);
    let read = copy(entry);
    // The loads above stay above the second look at the sequence.
    fence(Ordering::Acquire);
    let after = entry[SEQUENCE].load(Ordering::Relaxed);
    (before.is_multiple_of(2) && after == before).then_some(read)
}

fn copy(entry: &[AtomicU64]) -> Explanation {
    let get = |index: usize| entry[index].load(Ordering::Relaxed);
    let (asked, chosen, members) = (get(ASKED), get(CHOSEN), get(MEMBERS));
    let count = (chosen >> 8 & 255) as usize;
    let candidates = entry[CANDIDATES..]
        .chunks_exact(3)
        .take(count)
        .enumerate()
        .map(|(order, words)| {
            let [who, state, score] = [0, 1, 2].map(|at: usize| words[at].load(Ordering::Relaxed));
            ExplainedCandidate::of(
                &Candidate {
                    index: order,
                    handle: (who >> 32) as u32,
                    filter: Filter::from_code((state >> 32) as u8),
                    probe: false,
                    in_flight: who as u32,
                    latency_bits: state as u32,
                    state: (state >> 40) as u32,
                    score: f64::from_bits(score),
                },
                Some(order as u32 + 1),
            )
        });
    Explanation {
        ticket: get(TICKET),
        service: String::new(),
        at_us: get(AT_US),
        balancer: Balancer::from_code(chosen as u8),
        qos: Qos::from_code((chosen >> 17 & 7) as u32).unwrap_or_default(),
        hedge: chosen >> 20 & 1 == 1,
        key_hash: asked as u32,
        chosen: (chosen >> 32) as u32,
        candidates: candidates.collect(),
        rest: (members >> TOKEN_BITS).saturating_sub(count as u64) as u32,
        retry_budget: (members & ((1 << TOKEN_BITS) - 1)) as f64 / 1_000.0,
        service_handle: (asked >> 32) as u32,
    }
}
