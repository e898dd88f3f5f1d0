//! What every member holds: the region's bytes and the clients' results, at one position.

use std::collections::BTreeMap;

use super::{
    Change, Entry, Epoch, Mutation, Position,
    results::{MAX_OUTSTANDING, Results},
    wire::{Malformed, Reader},
};

/// Sessions of one replicated region. Their results are part of what is copied to a member that strayed.
pub const MAX_SESSIONS: usize = 1024;
/// Bytes of an encoded state beside the region's.
pub(super) const MAX_OVERHEAD: u64 = 64 + MAX_SESSIONS as u64 * (60 + 8 * MAX_OUTSTANDING as u64);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Session {
    pub(super) holder: [u8; 32],
    pub(super) results: Results,
}

/// The same changes in the same order make the same state: nothing here depends on time, chance or addresses.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct State {
    position: Position,
    is_formed: bool,
    bytes: Vec<u8>,
    sessions: BTreeMap<u128, Session>,
}

impl State {
    /// `bytes` at `position`; no sessions.
    pub(super) fn new(bytes: Vec<u8>, position: Position) -> Self {
        Self {
            position,
            is_formed: false,
            bytes,
            sessions: BTreeMap::new(),
        }
    }

    pub(super) const fn position(&self) -> Position {
        self.position
    }

    /// True from [`Change::Form`] on.
    pub(super) const fn is_formed(&self) -> bool {
        self.is_formed
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn session(&self, session: u128) -> Option<&Session> {
        self.sessions.get(&session)
    }

    pub(super) fn sessions(&self) -> impl Iterator<Item = u128> {
        self.sessions.keys().copied()
    }

    pub(super) fn is_full(&self) -> bool {
        self.sessions.len() >= MAX_SESSIONS
    }

    /// True if the mutation touches nothing outside of the region, and words only where they are.
    pub(super) fn allows(&self, mutation: &Mutation) -> bool {
        let (offset, length) = mutation.range();
        let is_word = !matches!(mutation, Mutation::Write { .. });
        (!is_word || offset.is_multiple_of(8))
            && offset
                .checked_add(length)
                .is_some_and(|end| end <= self.bytes.len() as u64)
    }

    /// Applies what the primary put next. What makes no sense, which no correct primary sends, changes nothing.
    pub(super) fn apply(&mut self, entry: &Entry) {
        self.position = Position {
            epoch: entry.epoch,
            index: self.position.index + 1,
        };
        match &entry.change {
            Change::Lead => {}
            Change::Form => self.is_formed = true,
            Change::Open { session, holder } => {
                if !self.is_full() {
                    self.sessions.entry(*session).or_insert_with(|| Session {
                        holder: *holder,
                        results: Results::default(),
                    });
                }
            }
            Change::GiveUp { session, below } => {
                if let Some(Session { results, .. }) = self.sessions.get_mut(session) {
                    results.acknowledge(*below);
                }
            }
            Change::End { session } => {
                self.sessions.remove(session);
            }
            Change::Operate {
                session,
                sequence,
                ack_below,
                mutation,
            } => self.operate(*session, *sequence, *ack_below, mutation),
        }
    }

    fn operate(&mut self, session: u128, sequence: u64, ack_below: u64, mutation: &Mutation) {
        if !self.allows(mutation) {
            return;
        }
        let Some(Session { results, .. }) = self.sessions.get_mut(&session) else {
            return;
        };
        results.acknowledge(ack_below);
        if sequence != results.next() || results.is_full_after(0) {
            return;
        }
        let (offset, _) = mutation.range();
        let at = offset as usize;
        let value = match mutation {
            Mutation::Write { data, .. } => {
                self.bytes[at..at + data.len()].copy_from_slice(data);
                0
            }
            Mutation::FetchAdd { operand, .. } => {
                let old = word(&self.bytes, at);
                put_word(&mut self.bytes, at, old.wrapping_add(*operand));
                old
            }
            Mutation::CompareSwap {
                expected, desired, ..
            } => {
                let old = word(&self.bytes, at);
                if old == *expected {
                    put_word(&mut self.bytes, at, *desired);
                }
                old
            }
            Mutation::Nop => 0,
        };
        results.keep(value);
    }

    /// The whole state as bytes, for a member that has to begin from it.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.bytes.len() + 64 + self.sessions.len() * 64);
        out.extend_from_slice(&self.position.epoch.0.to_le_bytes());
        out.extend_from_slice(&self.position.index.to_le_bytes());
        out.push(u8::from(self.is_formed));
        out.extend_from_slice(&(self.sessions.len() as u32).to_le_bytes());
        for (session, Session { holder, results }) in &self.sessions {
            out.extend_from_slice(&session.to_le_bytes());
            out.extend_from_slice(holder);
            results.encode(&mut out);
        }
        out.extend_from_slice(&self.bytes);
        out
    }

    /// Reads what [`encode`](Self::encode) wrote for a region of `length` bytes.
    pub(super) fn decode(bytes: &[u8], length: u64) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let position = Position {
            epoch: Epoch(reader.u64()?),
            index: reader.u64()?,
        };
        let is_formed = reader.flag()?;
        let count = reader.u32()? as usize;
        if count > MAX_SESSIONS {
            return Err(Malformed);
        }
        let mut sessions = BTreeMap::new();
        for _ in 0..count {
            let session = reader.u128()?;
            let holder = reader.array()?;
            let results = Results::decode(&mut reader)?;
            sessions.insert(session, Session { holder, results });
        }
        if reader.left() as u64 != length {
            return Err(Malformed);
        }
        let bytes = reader.bytes(reader.left())?.to_vec();
        Ok(Self {
            position,
            is_formed,
            bytes,
            sessions,
        })
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without content.
        f.debug_struct("State")
            .field("position", &self.position)
            .field("is_formed", &self.is_formed)
            .field("bytes", &self.bytes.len())
            .field("sessions", &self.sessions.len())
            .finish()
    }
}

fn word(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

fn put_word(bytes: &mut [u8], at: usize, value: u64) {
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn entry(change: Change) -> Entry {
        Entry {
            epoch: Epoch::new(1, 0),
            change,
        }
    }

    fn operate(sequence: u64, mutation: Mutation) -> Entry {
        entry(Change::Operate {
            session: 5,
            sequence,
            ack_below: 0,
            mutation,
        })
    }

    #[test]
    fn changes_are_applied_once_and_a_copy_is_the_same() {
        let mut state = State::new(vec![0; 24], Position::default());
        state.apply(&entry(Change::Form));
        state.apply(&entry(Change::Open {
            session: 5,
            holder: [1; 32],
        }));
        let add = operate(
            0,
            Mutation::FetchAdd {
                offset: 8,
                operand: 7,
            },
        );
        state.apply(&add);
        state.apply(&add);
        state.apply(&operate(
            1,
            Mutation::Write {
                offset: 20,
                data: Bytes::from_static(&[9; 4]),
            },
        ));
        // Beyond the end, or beside a word: nothing happens.
        state.apply(&operate(
            2,
            Mutation::Write {
                offset: 21,
                data: Bytes::from_static(&[9; 4]),
            },
        ));
        state.apply(&operate(
            2,
            Mutation::FetchAdd {
                offset: 4,
                operand: 1,
            },
        ));
        assert_eq!(state.bytes()[8..16], 7u64.to_le_bytes());
        assert_eq!(state.bytes()[20..], [9; 4]);
        assert_eq!(state.position().index, 7);
        let bytes = state.encode();
        assert!(bytes.len() as u64 <= 24 + MAX_OVERHEAD);
        assert!(State::decode(&bytes, 24) == Ok(state));
        assert!(State::decode(&bytes, 25).is_err());
        for length in 0..bytes.len() {
            assert!(State::decode(&bytes[..length], 24).is_err());
        }
    }
}
