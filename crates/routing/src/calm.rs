//! Whether anything speaks against an instance, as one bit of the word that a pick reads first. Of a calm instance the pick
//! reads nothing more than its public line; what is known against one is spread over its private block.
//!
//! The bit is set *after* what it stands for was written. It is taken away by a good answer that finds nothing more, and
//! who takes it away looks once more, since somebody may have found something meanwhile:
//!
//! Both changes are read-modify-writes of one word, so one comes first. If [`watch`] does, the other reads what it wrote
//! (Acquire of a Release), sees the reason in its second look, and sets the bit again. If [`unwatch`] does, the bit that
//! `watch` sets stays. So a reason without a bit lasts as long as two calls take. A pick in between goes where it would
//! have gone a moment earlier.

use crate::sync::{AtomicU64, Ordering};

/// The bit, in the state word, which is the lower half of its pair; `state_flag::WATCHED` of `cells`.
pub(crate) const WATCHED: u64 = 1 << 10;

/// Sets the bit.
pub(crate) fn watch(state: &AtomicU64) {
    // Release, a read-modify-write: see above. AcqRel keeps it so when the bit is there already.
    state.fetch_or(WATCHED, Ordering::AcqRel);
}

/// Takes the bit away, if nothing speaks against the instance; `is_calm` says so.
pub(crate) fn unwatch(state: &AtomicU64, is_calm: impl Fn() -> bool) {
    if !is_calm() {
        return;
    }
    state.fetch_and(!WATCHED, Ordering::AcqRel);
    if !is_calm() {
        watch(state);
    }
}
