//! Records into a journal, and what became of them.
#![allow(non_snake_case, reason = "the names are the contract's")]

use super::entry::{INVALID, STALE, hot};

hot! {
    fn journalAppend(state, args: 4) {
        let (Some(journal), Some(bytes), Some(lengths), Some(count)) =
            (args.u32(0), args.bytes(1), args.words(2), args.u32(3)) else { return INVALID };
        let Some(open) = state.journals.get(journal) else { return STALE };
        let Some(lengths) = lengths.get(..count as usize) else { return INVALID };
        match crate::journal::append(open, bytes, lengths) {
            Ok(ticket) => ticket as i64,
            Err(failure) => i64::from(state.fail(failure)),
        }
    }
    fn journalAcks(state, args: 2) {
        let (Some(journal), Some(out)) = (args.u32(0), args.doubles(1)) else { return INVALID };
        state.journals.get_mut(journal).map_or(STALE, |open| open.acks(out) as i64)
    }
}
