//! What is known of each instance at this moment: one public cache line, which JavaScript reads too, and one private
//! block. All atomics, at addresses that never change.

use linkmesh_registry::{Breaker, Health, SLOT_MASK, slot_of};

use crate::breaker::CircuitBreaker;
use crate::concurrency::Limiter;
use crate::ejection::Ejection;
use crate::estimate::Estimate;
use crate::outcome::Outcome;
use crate::sync::{AtomicU32, AtomicU64, Ordering, fence};
use crate::table::SlotTable;
use zerocopy::FromZeros;

/// Slots there are.
pub const MAX_INSTANCES: usize = SLOT_MASK as usize + 1;
/// Words of 32 bits in an instance's view: one cache line.
pub const INSTANCE_WORDS: usize = 16;
/// The same in the unit that the memory is made of. Two words that change together are one of these, so that they
/// change by one atomic operation.
const PAIRS: usize = INSTANCE_WORDS / 2;

// JavaScript reads the halves as words of their own, the lower one first.
#[cfg(target_endian = "big")]
compile_error!("the words of a view are halves of little-endian pairs");

/// Index of each word of a view; the contract's `InstanceWord`. Requests picked are the sum of those in flight and
/// those that ended: well, badly, cancelled.
pub mod instance_word {
    /// Sequence: odd while a writer changes the multi-word fields.
    pub const EPOCH: usize = 0;
    /// The whole handle while the instance lives, else 0.
    pub const HANDLE: usize = 1;
    /// `health | breaker << 4 | flags << 8`.
    pub const STATE: usize = 2;
    /// 1 to 1,000.
    pub const WEIGHT: usize = 4;
    /// Concurrency limit; 0 = none.
    pub const LIMIT: usize = 5;
    /// Latency estimate, microseconds, as float32 bits.
    pub const LATENCY_US: usize = 6;
    /// Handle of the service.
    pub const SERVICE: usize = 7;
    /// Thread it lives in; 0 for one by address.
    pub const THREAD: usize = 8;
    /// Requests completed badly, modulo 2^32.
    pub const FAILED: usize = 9;
    /// Requests picked and not completed.
    pub const IN_FLIGHT: usize = 10;
    /// Requests completed well, modulo 2^32. In one pair with `IN_FLIGHT`: see `reserve`.
    pub const SUCCEEDED: usize = 11;
    /// Requests that the caller gave up, modulo 2^32.
    pub const CANCELLED: usize = 13;
    /// How late the event loop of its thread is, microseconds; 0 below a millisecond.
    pub const LAG_US: usize = 12;
    /// Not the contract's: `adaptive`'s recent latency, an estimate of two words. Here, because every pick reads it of
    /// sixteen instances, and this line is what it reads anyway.
    pub(crate) const RECENT: usize = 14;
}

/// Flags of the state word.
pub(crate) mod state_flag {
    /// The event loop of its thread is blocked.
    pub(crate) const BLOCKED: u32 = 1 << 8;
    /// The event loop of its thread is late: [`LAG_US`](super::instance_word::LAG_US) is not 0.
    pub(crate) const LAGGING: u32 = 1 << 9;
    /// Something of the private block may keep it out or make it look worse: its breaker is not closed, it is or was
    /// kept out, or a request failed not long ago. Without this a pick need not look there. See
    /// [`super::calm`](crate::calm).
    pub(crate) const WATCHED: u32 = 1 << 10;
    /// With none of these an instance is healthy or degraded, and nothing speaks against it but its load.
    pub(crate) const UNUSUAL: u32 = 0b1110 | BLOCKED | LAGGING | WATCHED;
}

/// Index of each word of the header; the contract's `HeaderWord`.
pub mod header_word {
    /// Grows with every change of services or instances.
    pub const REGISTRY_EPOCH: usize = 0;
    /// Services there are.
    pub const SERVICES: usize = 1;
    /// Instances there are.
    pub const INSTANCES: usize = 2;
}

use instance_word as word;

/// The public line of one instance.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a>(&'a [AtomicU64; PAIRS]);

/// The private block of one instance. In the order written here: the first cache line is what a good answer touches, and
/// a pick that has to look closer; then the breaker with its evidence; then what few policies use.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub(crate) struct InstanceState {
    /// Peak latency, microseconds.
    pub(crate) latency: Estimate,
    /// Share of recent requests that failed, 0 to 1.
    pub(crate) failing: Estimate,
    /// `adaptive` only: when it last answered, or was given work after it had none, microseconds.
    pub(crate) answered_at_us: AtomicU64,
    /// Not eligible before this time, microseconds: it answered Rejected.
    pub(crate) rejected_until_us: AtomicU64,
    /// Kept out by outlier detection.
    pub(crate) ejection: Ejection,
    /// Which histogram is its own; see `latencies`. 0 = none.
    pub(crate) series: AtomicU32,
    pub(crate) breaker: CircuitBreaker,
    /// It begins, or began again, with a small share at this time, microseconds.
    pub(crate) warming_since_us: AtomicU64,
    pub(crate) limiter: Limiter,
    /// Requests by outcome since registration; of those that ended well only what the view's word has lost by starting
    /// again at 0. See [`View::outcomes`].
    outcomes: [AtomicU64; 7],
}

// What `repr(C)` is for.
const _: () = assert!(std::mem::offset_of!(InstanceState, breaker) == 64);

impl InstanceState {
    /// A request ended other than well.
    #[inline]
    pub(crate) fn count(&self, outcome: Outcome) {
        self.outcomes[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// After a good answer of an instance that is watched: what is over is forgotten, and when nothing is left, picks
    /// need not look closer any more.
    #[cold]
    pub(crate) fn settle(&self, view: View<'_>, now_us: u64) {
        for until_us in [&self.rejected_until_us, &self.ejection.until_us] {
            let seen = until_us.load(Ordering::Relaxed);
            if seen <= now_us {
                // Unless somebody wrote a new time meanwhile.
                let _ = until_us.compare_exchange(seen, 0, Ordering::Relaxed, Ordering::Relaxed);
            }
        }
        crate::calm::unwatch(view.state_pair(), || self.is_calm());
    }

    /// Whether nothing speaks against it.
    fn is_calm(&self) -> bool {
        self.failing.stored() == 0.0
            && self.rejected_until_us.load(Ordering::Relaxed) == 0
            && self.ejection.until_us.load(Ordering::Relaxed) == 0
            && self.breaker.state() == Breaker::Closed
    }

    #[cold]
    fn count_wrap(&self) {
        self.outcomes[Outcome::Ok as usize].fetch_add(1 << 32, Ordering::Relaxed);
    }
}

/// How an instance appears in its line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Placement {
    pub(crate) handle: u32,
    pub(crate) service: u32,
    pub(crate) thread: u32,
    pub(crate) weight: u32,
    pub(crate) limit: u32,
    pub(crate) health: Health,
    pub(crate) now_us: u64,
}

/// Bits that a word is shifted by in its pair.
const fn shift(index: usize) -> u32 {
    index as u32 % 2 * 32
}

impl<'a> View<'a> {
    #[inline]
    pub(crate) fn get(self, index: usize) -> u32 {
        // Relaxed: each word is complete in itself; readers of several use the epoch.
        (self.0[index / 2].load(Ordering::Relaxed) >> shift(index)) as u32
    }

    #[inline]
    pub(crate) fn set(self, index: usize, value: u32) {
        self.change(index, Ordering::Relaxed, |_| value);
    }

    /// Changes one word and leaves the other of its pair as it is.
    fn change(self, index: usize, order: Ordering, change: impl Fn(u32) -> u32) {
        let mask = u64::from(u32::MAX) << shift(index);
        let _ = self.0[index / 2].fetch_update(order, Ordering::Relaxed, |pair| {
            let word = change((pair >> shift(index)) as u32);
            Some(pair & !mask | u64::from(word) << shift(index))
        });
    }

    /// Whether the slot belongs to this handle now.
    #[inline]
    pub(crate) fn is(self, handle: u32) -> bool {
        // Acquire pairs with the Release in `place`: the line and the block are those of this instance.
        let pair = self.0[word::HANDLE / 2].load(Ordering::Acquire);
        (pair >> shift(word::HANDLE)) as u32 == handle
    }

    /// The word of `adaptive`'s estimate; see [`instance_word::RECENT`].
    #[inline]
    pub(crate) fn recent(self) -> &'a AtomicU64 {
        &self.0[word::RECENT / 2]
    }

    /// Adds one to a counter, modulo 2^32. The upper word of a pair: it carries into nothing.
    #[inline]
    pub(crate) fn count(self, index: usize) {
        debug_assert!(index % 2 == 1, "a lower word would carry into the upper");
        self.0[index / 2].fetch_add(1 << 32, Ordering::Relaxed);
    }

    /// Takes one place below `limit` (0 = none): compare-and-swap, so the limit is never exceeded.
    #[inline]
    pub(crate) fn reserve(self, limit: u32) -> bool {
        crate::reserve::reserve(&self.0[word::IN_FLIGHT / 2], limit)
    }

    /// Gives the place back unused, or used to no good end.
    #[inline]
    pub(crate) fn release(self) {
        crate::reserve::release(&self.0[word::IN_FLIGHT / 2], false);
    }

    /// Gives the place back and counts the good answer.
    #[inline]
    pub(crate) fn release_good(self, state: &InstanceState) {
        if crate::reserve::release(&self.0[word::IN_FLIGHT / 2], true) {
            state.count_wrap();
        }
    }

    /// See [`crate::reserve::look_for_place`].
    pub(crate) fn look_for_place(self) {
        crate::reserve::look_for_place(&self.0[word::IN_FLIGHT / 2]);
    }

    /// Requests picked, modulo 2^32: those in flight and those that ended.
    pub(crate) fn picked(self) -> u32 {
        [
            word::IN_FLIGHT,
            word::SUCCEEDED,
            word::FAILED,
            word::CANCELLED,
        ]
        .into_iter()
        .fold(0, |sum, index| sum.wrapping_add(self.get(index)))
    }

    /// Requests of one outcome since registration.
    pub(crate) fn outcomes(self, state: &InstanceState, outcome: Outcome) -> u64 {
        let counted = state.outcomes[outcome as usize].load(Ordering::Relaxed);
        if outcome == Outcome::Ok {
            counted + u64::from(self.get(word::SUCCEEDED))
        } else {
            counted
        }
    }

    /// Health without the breaker's half of the word.
    #[inline]
    pub(crate) fn health(self) -> Health {
        match self.get(word::STATE) & 15 {
            0 => Health::Healthy,
            1 => Health::Degraded,
            2 => Health::Draining,
            _ => Health::Dead,
        }
    }

    fn set_state(self, mask: u32, bits: u32) {
        self.change(word::STATE, Ordering::Relaxed, |state| state & !mask | bits);
    }

    /// The pair of the state word, for [`crate::calm`].
    #[inline]
    pub(crate) fn state_pair(self) -> &'a AtomicU64 {
        &self.0[word::STATE / 2]
    }

    /// Whether picks look closer.
    #[inline]
    pub(crate) fn is_watched(self) -> bool {
        self.get(word::STATE) & state_flag::WATCHED != 0
    }

    /// Something speaks against the instance: picks look closer. After what speaks against it was written.
    #[inline]
    pub(crate) fn watch(self) {
        crate::calm::watch(self.state_pair());
    }

    /// See [`state_flag`].
    pub(crate) fn show_blocked(self, blocked: bool) {
        self.set_state(
            state_flag::BLOCKED,
            if blocked { state_flag::BLOCKED } else { 0 },
        );
    }

    /// See [`state_flag`].
    pub(crate) fn is_blocked(self) -> bool {
        self.get(word::STATE) & state_flag::BLOCKED != 0
    }

    /// See [`instance_word::LAG_US`].
    pub(crate) fn show_lag(self, lag_us: u32) {
        self.set(word::LAG_US, lag_us);
        self.set_state(
            state_flag::LAGGING,
            if lag_us > 0 { state_flag::LAGGING } else { 0 },
        );
    }

    pub(crate) fn set_health(self, health: Health) {
        self.set_state(15, health as u32);
    }

    /// Shows what the breaker says. Two that changed it at once may get here in the wrong order, so each looks again
    /// after it wrote: the last to write wrote what was true.
    pub(crate) fn show_breaker(self, breaker: &CircuitBreaker) {
        let mut shown = breaker.state();
        loop {
            self.set_state(15 << 4, (shown as u32) << 4);
            let now = breaker.state();
            if now == shown {
                return;
            }
            shown = now;
        }
    }

    pub(crate) fn breaker(self) -> Breaker {
        match self.get(word::STATE) >> 4 & 15 {
            0 => Breaker::Closed,
            1 => Breaker::Open,
            _ => Breaker::HalfOpen,
        }
    }

    /// Writes what takes several words, readers kept off by an odd epoch. One writer at a time.
    fn write(self, write: impl FnOnce(Self)) {
        let epoch = self.get(word::EPOCH);
        self.set(word::EPOCH, epoch.wrapping_add(1));
        // The odd epoch is visible before any of the words...
        fence(Ordering::Release);
        write(self);
        // ...and all of the words before the even one.
        self.change(word::EPOCH, Ordering::Release, |_| epoch.wrapping_add(2));
    }

    /// New weight and limit.
    pub(crate) fn reweigh(self, weight: u32, limit: u32) {
        self.write(|view| {
            view.set(word::WEIGHT, weight);
            view.set(word::LIMIT, limit);
        });
    }

    /// The slot belongs to nobody.
    pub(crate) fn clear(self) {
        self.write(|view| {
            view.set(word::HANDLE, 0);
            view.set(word::STATE, Health::Dead as u32);
        });
    }
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Cells {
    /// Zeroed by the operating system and committed page by page, as instances come.
    pairs: Box<[AtomicU64]>,
    /// Pairs to skip for the first line to begin at a multiple of 64 bytes.
    skip: usize,
    states: SlotTable<InstanceState>,
}

impl Cells {
    /// `None` when there is no memory for the lines.
    pub(crate) fn new() -> Option<Self> {
        let pairs = <[AtomicU64]>::new_box_zeroed_with_elems(MAX_INSTANCES * PAIRS + PAIRS).ok()?;
        let skip = pairs.as_ptr().align_offset(64).min(PAIRS);
        Some(Self {
            pairs,
            skip,
            states: SlotTable::new(MAX_INSTANCES),
        })
    }

    /// First word of the first line, and the number of words.
    pub(crate) fn memory(&self) -> (*const u32, usize) {
        (
            self.pairs[self.skip..].as_ptr().cast(),
            MAX_INSTANCES * INSTANCE_WORDS,
        )
    }

    /// The line of a slot. Any handle will do: the slot is masked.
    #[inline]
    pub(crate) fn view(&self, handle: u32) -> View<'_> {
        let at = self.skip + slot_of(handle) * PAIRS;
        View(
            self.pairs[at..]
                .first_chunk()
                .expect("the slot is masked and the memory covers every slot"),
        )
    }

    /// The block of a slot that was ever placed.
    #[inline]
    pub(crate) fn state(&self, handle: u32) -> Option<&InstanceState> {
        self.states.get(slot_of(handle))
    }

    /// Gives a slot to a new instance, everything forgotten. One writer at a time.
    pub(crate) fn place(&self, placement: Placement) {
        let state = self.states.make(slot_of(placement.handle));
        state.latency.reset();
        state.failing.reset();
        state.rejected_until_us.store(0, Ordering::Relaxed);
        state.ejection.reset();
        state
            .warming_since_us
            .store(placement.now_us, Ordering::Relaxed);
        state
            .answered_at_us
            .store(placement.now_us, Ordering::Relaxed);
        state.limiter.reset();
        state.breaker.reset();
        for outcome in &state.outcomes {
            outcome.store(0, Ordering::Relaxed);
        }
        self.view(placement.handle).write(|view| {
            for index in word::STATE..INSTANCE_WORDS {
                view.set(index, 0);
            }
            view.set(word::STATE, placement.health as u32);
            view.set(word::WEIGHT, placement.weight);
            view.set(word::LIMIT, placement.limit);
            view.set(word::SERVICE, placement.service);
            view.set(word::THREAD, placement.thread);
            // Release: see `is`.
            view.change(word::HANDLE, Ordering::Release, |_| placement.handle);
        });
    }
}
