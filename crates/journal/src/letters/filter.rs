//! Which letters are meant.

use serde::{Deserialize, Serialize};

use super::entry::DeliveryOutcome;
use super::state::{LetterState, Summary};
use crate::error::{ErrorKind, JournalError};

/// Letters on one page at most.
const MAX_PAGE: u32 = 1_000;
const DEFAULT_PAGE: u32 = 100;
const MAX_IDS: usize = 1_000;

/// Every given condition must hold; without any, all letters match.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Filter {
    /// States; by default all but `redriven`.
    pub states: Option<Vec<LetterState>>,
    /// Service, exactly.
    pub service: Option<String>,
    /// Code of the last error, exactly.
    pub reason: Option<String>,
    /// Routing key, exactly.
    pub key: Option<String>,
    /// Class of service.
    pub qos: Option<String>,
    /// Whether a handler had it.
    pub outcome: Option<DeliveryOutcome>,
    /// Given up last at this time or later, milliseconds since 1970.
    pub after_ms: Option<f64>,
    /// Given up last before this time.
    pub before_ms: Option<f64>,
    /// These letters, at most 1,000.
    pub ids: Option<Vec<u64>>,
    /// Only letters with a larger id: the `next` of the page before.
    pub from: u64,
    /// At most so many, 1 to 1,000; default 100.
    pub limit: Option<u32>,
}

/// Letters in the order of their ids.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Page {
    /// The letters.
    pub letters: Vec<Summary>,
    /// `from` of the next page; `None` when this is the last.
    pub next: Option<u64>,
}

impl Filter {
    /// # Errors
    /// `LimitExceeded` naming the condition.
    pub fn check(&self) -> Result<(), JournalError> {
        if self
            .limit
            .is_some_and(|limit| !(1..=MAX_PAGE).contains(&limit))
        {
            return Err(JournalError::new(
                ErrorKind::LimitExceeded,
                format!("limit is 1 to {MAX_PAGE}"),
            )
            .field("limit")
            .limit(u64::from(MAX_PAGE)));
        }
        if self.ids.as_ref().is_some_and(|ids| ids.len() > MAX_IDS) {
            return Err(JournalError::new(
                ErrorKind::LimitExceeded,
                format!("at most {MAX_IDS} ids at once"),
            )
            .field("ids")
            .limit(MAX_IDS as u64));
        }
        Ok(())
    }

    pub(crate) fn page(&self) -> usize {
        self.limit.unwrap_or(DEFAULT_PAGE) as usize
    }

    pub(crate) fn matches(&self, letter: &Summary) -> bool {
        let is = |wanted: &Option<String>, found: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == found)
        };
        let state = match &self.states {
            Some(states) => states.contains(&letter.state),
            None => letter.state != LetterState::Redriven,
        };
        state
            && is(&self.service, &letter.service)
            && is(&self.reason, &letter.reason)
            && is(&self.qos, &letter.qos)
            && (self.key.is_none() || self.key == letter.key)
            && self.outcome.is_none_or(|outcome| outcome == letter.outcome)
            && self
                .after_ms
                .is_none_or(|after| letter.last_death_ms >= after)
            && self
                .before_ms
                .is_none_or(|before| letter.last_death_ms < before)
            && self.ids.as_ref().is_none_or(|ids| ids.contains(&letter.id))
    }
}
