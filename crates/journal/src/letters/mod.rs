//! Dead letters: messages that nobody could be given, with everything that happened to them, until somebody decides.
//!
//! The log is the truth: a letter is a record, and so is every change of its state. The index (redb) only says where
//! the records of a letter are and what they add up to; it is written lazily and rebuilt from the log whenever it is
//! missing, damaged or of another log. Deliberately absent: sending a letter again, which is the router's work.

mod entry;
mod filter;
mod index;
mod queue;
mod state;

pub use entry::{Attempt, Body, DeadLetter, DeliveryOutcome, Encoding};
pub use filter::{Filter, Page};
pub use queue::{Counts, DeadLetterOptions, DeadLetterQueue, LETTER, RedriveResult, Stats};
pub use state::{Event, LetterState, Summary};
