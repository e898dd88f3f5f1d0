//! What happens to a letter, and what it adds up to: a state machine without I/O or clock.
//!
//! ```text
//! dead ──redrive-started──▶ redriving ──redriven──▶ redriven
//!   ▲                          │
//!   └──────redrive-failed──────┤ fewer than N times, and it is known that nobody has it
//!                              └──▶ parked      N times, or nobody can tell
//! dead | parked | redriven ──purged──▶ gone
//! ```

use serde::{Deserialize, Serialize};

use super::entry::{Attempt, DeadLetter, DeliveryOutcome};
use crate::log::Position;

/// Where a letter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LetterState {
    /// Given up; may be redriven.
    Dead,
    /// Being sent again now.
    Redriving,
    /// Sent again and answered well.
    Redriven,
    /// Failed too often, or it is not known whether it was delivered: only by hand.
    Parked,
}

/// A change of a letter's state, as it is written to the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    tag = "event",
    rename_all = "kebab-case",
    rename_all_fields = "camelCase"
)]
pub enum Event {
    /// About to be sent. Written first, so that a crash in the middle is known afterwards.
    RedriveStarted {
        /// Sequence of the letter.
        of: u64,
        /// Milliseconds since 1970.
        at_ms: f64,
        /// Who asked for it.
        by: String,
    },
    /// Sent and answered well.
    Redriven {
        /// Sequence of the letter.
        of: u64,
        /// Milliseconds since 1970.
        at_ms: f64,
    },
    /// Sent and failed again.
    RedriveFailed {
        /// Sequence of the letter.
        of: u64,
        /// Milliseconds since 1970.
        at_ms: f64,
        /// Whether a handler had it this time.
        outcome: DeliveryOutcome,
        /// Code of the last error.
        reason: String,
        /// Every attempt of this redrive.
        attempts: Vec<Attempt>,
        /// True when it is not to be redriven by itself any more.
        parked: bool,
    },
    /// Set aside.
    Parked {
        /// Sequence of the letter.
        of: u64,
        /// Milliseconds since 1970.
        at_ms: f64,
        /// Why.
        why: String,
    },
    /// Given up for good.
    Purged {
        /// Sequences of the letters.
        of: Vec<u64>,
        /// Milliseconds since 1970.
        at_ms: f64,
        /// Who asked for it.
        by: String,
    },
}

/// What the index knows of a letter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Sequence of its record: its id.
    pub id: u64,
    /// Where it stands.
    pub state: LetterState,
    /// Service it was for.
    pub service: String,
    /// Routing key.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub key: Option<String>,
    /// Class of service.
    pub qos: String,
    /// Whether a handler had it.
    pub outcome: DeliveryOutcome,
    /// Why it was given up, last.
    pub reason: String,
    /// When it was given up first, milliseconds since 1970.
    pub first_death_ms: f64,
    /// When it was given up last.
    pub last_death_ms: f64,
    /// Attempts in all.
    pub attempts: u64,
    /// Redrives that were started.
    pub redrives: u32,
    /// Why it was parked.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub parked: Option<String>,
    /// True when sending it twice does no harm.
    pub idempotent: bool,
    /// True when later messages of its key went before it.
    pub breaks_order: bool,
    /// Bytes of the letter.
    pub bytes: u64,
    /// Where its record is, then those of its events: (segment, offset).
    pub(crate) records: Vec<(u64, u64)>,
}

impl Summary {
    /// Of a letter that was just read. One that cannot be understood is kept, and says so.
    pub(crate) fn of(id: u64, at: Position, payload: &[u8], time_us: u64) -> Self {
        let place = vec![(at.segment, at.offset)];
        let bytes = payload.len() as u64;
        match serde_json::from_slice::<DeadLetter>(payload) {
            Ok(letter) => Self {
                id,
                state: LetterState::Dead,
                attempts: letter.attempts.len() as u64,
                service: letter.service,
                key: letter.key,
                qos: letter.qos,
                outcome: letter.outcome,
                reason: letter.reason,
                first_death_ms: letter.first_death_ms,
                last_death_ms: letter.last_death_ms,
                redrives: 0,
                parked: None,
                idempotent: letter.idempotent,
                breaks_order: letter.breaks_order,
                bytes,
                records: place,
            },
            Err(error) => Self {
                id,
                state: LetterState::Parked,
                service: String::new(),
                key: None,
                qos: String::new(),
                outcome: DeliveryOutcome::Unknown,
                reason: "LM_CODEC".to_owned(),
                first_death_ms: time_us as f64 / 1e3,
                last_death_ms: time_us as f64 / 1e3,
                attempts: 0,
                redrives: 0,
                parked: Some(format!("this is not a dead letter: {error}")),
                idempotent: false,
                breaks_order: false,
                bytes,
                records: place,
            },
        }
    }

    /// Applies an event of this letter; false when it is gone.
    pub(crate) fn apply(&mut self, event: &Event, at: Position) -> bool {
        self.records.push((at.segment, at.offset));
        match event {
            Event::RedriveStarted { .. } => {
                self.state = LetterState::Redriving;
                self.redrives += 1;
            }
            Event::Redriven { .. } => {
                self.state = LetterState::Redriven;
                self.parked = None;
            }
            Event::RedriveFailed {
                at_ms,
                outcome,
                reason,
                attempts,
                parked,
                ..
            } => {
                self.state = if *parked {
                    LetterState::Parked
                } else {
                    LetterState::Dead
                };
                self.parked = parked.then(|| match outcome {
                    DeliveryOutcome::Unknown => {
                        "it is not known whether the last redrive was delivered".to_owned()
                    }
                    _ => format!("redriven {} times", self.redrives),
                });
                self.outcome = *outcome;
                self.reason.clone_from(reason);
                self.last_death_ms = *at_ms;
                self.attempts += attempts.len() as u64;
            }
            Event::Parked { why, .. } => {
                self.state = LetterState::Parked;
                self.parked = Some(why.clone());
            }
            Event::Purged { .. } => return false,
        }
        true
    }
}

impl Event {
    /// The letters it is about.
    pub(crate) fn letters(&self) -> &[u64] {
        match self {
            Self::RedriveStarted { of, .. }
            | Self::Redriven { of, .. }
            | Self::RedriveFailed { of, .. }
            | Self::Parked { of, .. } => std::slice::from_ref(of),
            Self::Purged { of, .. } => of,
        }
    }
}
