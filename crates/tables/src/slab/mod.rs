//! Slots with generations: a number that was freed, or made up, finds nothing.
//!
//! [`HandleSlab`] gives 31-bit handles (V8's small integers) and reuses slots late; [`TicketSlab`] gives tickets below
//! 2^53 (exact in a JavaScript number) and reuses the warmest slot. In both the slots lie side by side in one
//! allocation whose pages are committed on first use, so addresses never change and the array can be looked at from
//! outside. Neither takes a lock.
//!
//! Values are reached by shared reference and made of atomics: a slot may be freed while another thread still looks
//! at it, and that thread then sees the next owner's numbers, not freed memory. [`HandleSlab::claim`] and
//! [`TicketSlab::claim`] make sure that one thread alone ends a slot's life.
//!
//! Deliberately absent: growth (a table that must move is not one that others can look at), and resetting: a reused
//! slot holds what its last owner left.

mod handle;
mod slots;
mod ticket;

pub use handle::{Handle, HandleSlab};
pub use slots::{Claimed, SlabError};
pub use ticket::{Ticket, TicketSlab};
