//! Acknowledgements: which tickets became which records, as runs.
//!
//! Records are written in the order of their tickets and succeed or fail by groups, so a run of any length is three
//! numbers. Runs that continue each other are one: without failures there is a single run, however many records.

use std::collections::VecDeque;

use super::reader::Position;
use crate::error::{ErrorKind, JournalError};
use crate::format::Hash;

/// Runs that are remembered. A ticket older than all of them has an outcome that nobody can tell any more.
const MAX_RUNS: usize = 4_096;

/// Number of an append: 1 for the first since the journal was opened, counting up without holes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What became of `count` tickets from `first` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// The first ticket.
    pub first: Ticket,
    /// How many.
    pub count: u64,
    /// Sequence of the first record, the others follow it; or why none of them was written.
    pub outcome: Result<u64, ErrorKind>,
}

#[derive(Debug)]
pub(crate) struct Commits {
    runs: VecDeque<Acknowledged>,
    /// The newest failure, with its words.
    pub(crate) failure: Option<JournalError>,
    /// Sequence, hash and end of the durable log.
    pub(crate) sequence: u64,
    pub(crate) hash: Hash,
    pub(crate) end: Position,
    pub(crate) time_us: u64,
}

impl Commits {
    pub(crate) fn new(sequence: u64, hash: Hash, end: Position, time_us: u64) -> Self {
        Self {
            runs: VecDeque::new(),
            failure: None,
            sequence,
            hash,
            end,
            time_us,
        }
    }

    pub(crate) fn push(&mut self, run: Acknowledged) {
        if let Some(last) = self.runs.back_mut() {
            let follows = match (last.outcome, run.outcome) {
                (Ok(before), Ok(after)) => before + last.count == after,
                (Err(before), Err(after)) => before == after,
                _ => false,
            };
            if follows && last.first.0 + last.count == run.first.0 {
                last.count += run.count;
                return;
            }
        }
        if self.runs.len() == MAX_RUNS {
            self.runs.pop_front();
        }
        self.runs.push_back(run);
    }

    /// The outcome of a ticket, `None` while there is none.
    pub(crate) fn outcome(&self, ticket: Ticket) -> Option<Result<u64, JournalError>> {
        let index = self.runs.partition_point(|run| run.first <= ticket);
        let Some(run) = index.checked_sub(1).and_then(|index| self.runs.get(index)) else {
            return self.runs.front().map(|_| {
                Err(JournalError::new(
                    ErrorKind::NotFound,
                    "the outcome of this append was asked for too late",
                ))
            });
        };
        if ticket.0 >= run.first.0 + run.count {
            return None;
        }
        Some(
            run.outcome
                .map(|sequence| sequence + ticket.0 - run.first.0)
                .map_err(|kind| self.words(kind)),
        )
    }

    fn words(&self, kind: ErrorKind) -> JournalError {
        match &self.failure {
            Some(failure) if failure.kind == kind => failure.clone(),
            _ => JournalError::new(kind, "the record was not written"),
        }
    }

    /// The runs that hold tickets from `from` on, the first cut to it.
    pub(crate) fn since(&self, from: Ticket) -> impl Iterator<Item = Acknowledged> {
        let index = self
            .runs
            .partition_point(|run| run.first.0 + run.count <= from.0);
        self.runs.range(index..).map(move |run| {
            let cut = from.0.saturating_sub(run.first.0);
            Acknowledged {
                first: Ticket(run.first.0 + cut),
                count: run.count - cut,
                outcome: run.outcome.map(|sequence| sequence + cut),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(first: u64, count: u64, outcome: Result<u64, ErrorKind>) -> Acknowledged {
        Acknowledged {
            first: Ticket(first),
            count,
            outcome,
        }
    }

    fn empty() -> Commits {
        Commits::new(
            0,
            [0; 32],
            Position {
                segment: 1,
                offset: 0,
            },
            0,
        )
    }

    #[test]
    fn runs_that_continue_each_other_are_one() {
        let mut commits = empty();
        for group in 0..10_000 {
            commits.push(run(1 + group * 7, 7, Ok(101 + group * 7)));
        }
        assert_eq!(
            commits.since(Ticket(1)).collect::<Vec<_>>(),
            [run(1, 70_000, Ok(101))]
        );
        assert_eq!(commits.outcome(Ticket(70_000)), Some(Ok(70_100)));
        assert_eq!(commits.outcome(Ticket(70_001)), None);
    }

    #[test]
    fn a_failure_stands_between_successes_and_takes_no_sequence() {
        let mut commits = empty();
        commits.push(run(1, 3, Ok(1)));
        commits.push(run(4, 2, Err(ErrorKind::DiskFull)));
        commits.push(run(6, 1, Ok(4)));
        let seen: Vec<_> = commits.since(Ticket(2)).collect();
        assert_eq!(
            seen,
            [
                run(2, 2, Ok(2)),
                run(4, 2, Err(ErrorKind::DiskFull)),
                run(6, 1, Ok(4))
            ]
        );
        let failed = commits
            .outcome(Ticket(5))
            .map(|outcome| outcome.map_err(|error| error.kind));
        assert_eq!(failed, Some(Err(ErrorKind::DiskFull)));
    }
}
