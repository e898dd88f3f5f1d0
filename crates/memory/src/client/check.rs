//! What the importing side can know to be wrong with an operation.

use super::SubmitError;
use crate::{
    frame::{Imported, MAX_INLINE, Operation},
    region::{AccessError, Rights, check_range},
};

/// Checks length, rights, range and alignment against what the grant allows.
#[inline]
pub(crate) fn check_operation(
    allows: &Imported,
    operation: &Operation<'_>,
) -> Result<(), SubmitError> {
    let max = u64::from(MAX_INLINE);
    let (needed, offset, length) = match *operation {
        Operation::Read { offset, length } | Operation::ReadVersioned { offset, length, .. } => {
            (Rights::READ, offset, u64::from(length))
        }
        Operation::Write { offset, data } => (Rights::WRITE, offset, data.len() as u64),
        Operation::FetchAdd { offset, .. } | Operation::CompareSwap { offset, .. } => {
            (Rights::ATOMIC, offset, 8)
        }
        Operation::Nop => return Ok(()),
    };
    if length == 0 {
        return Err(SubmitError::ZeroLength);
    }
    if length > max {
        return Err(SubmitError::TooLong { length, limit: max });
    }
    if !allows.rights.contains(needed) {
        return Err(SubmitError::Rights {
            needed,
            granted: allows.rights,
        });
    }
    check_range(offset, length, allows.length).map_err(SubmitError::Access)?;
    if let Operation::ReadVersioned { version, .. } = *operation {
        check_range(version, 8, allows.length).map_err(SubmitError::Access)?;
        if !version.is_multiple_of(8) {
            return Err(SubmitError::Access(AccessError::Misaligned {
                offset: version,
            }));
        }
    }
    if needed == Rights::ATOMIC && !offset.is_multiple_of(8) {
        return Err(SubmitError::Access(AccessError::Misaligned { offset }));
    }
    Ok(())
}
