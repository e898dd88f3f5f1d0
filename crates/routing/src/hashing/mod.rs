//! Where keys are at home: a ring or a table of members that consistent hashing prepares when membership changes, or
//! remembered homes for the balancers that do not hash, and the order in which a key visits them. Enters here: pure functions of identities, weights and keys. Deliberately absent: whether a member is
//! eligible.

mod crc32;
mod homes;
mod ketama;
mod maglev;
mod table;
mod winners;

pub(crate) use crc32::Crc32;
pub use crc32::crc32;
pub(crate) use homes::Homes;
pub(crate) use table::{HashTable, Node, calm_us};
pub(crate) use winners::Winners;
