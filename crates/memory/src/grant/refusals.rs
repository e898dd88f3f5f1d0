//! How often a peer may present what does not open.

use super::GrantError;

/// Refusals that are forgiven on one connection.
pub const MAX_REFUSALS: u32 = 8;

/// Counts the refused grants of one connection: whoever guesses gets [`MAX_REFUSALS`] tries and then loses the connection.
///
/// Refusals that an honest peer meets (a grant that expired, was revoked, or whose region is gone) are not counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Refusals {
    counted: u32,
}

impl Refusals {
    /// Notes a refusal; true when the connection is to be closed.
    #[must_use]
    pub fn note(&mut self, error: &GrantError) -> bool {
        let honest = matches!(
            error,
            GrantError::Expired
                | GrantError::Revoked
                | GrantError::UnknownRegion
                | GrantError::StaleEpoch
                | GrantError::OutOfRange { .. }
                | GrantError::Rights { .. }
                | GrantError::Full { .. }
        );
        self.counted += u32::from(!honest);
        self.counted > MAX_REFUSALS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guessing_ends_the_connection_and_bad_luck_does_not() {
        let mut refusals = Refusals::default();
        for _ in 0..1000 {
            assert!(!refusals.note(&GrantError::Expired));
        }
        for _ in 0..MAX_REFUSALS {
            assert!(!refusals.note(&GrantError::WrongNode));
        }
        assert!(refusals.note(&GrantError::Checksum));
    }
}
