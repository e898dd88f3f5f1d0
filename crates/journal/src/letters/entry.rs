//! What a dead letter holds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{ErrorKind, JournalError};

const MAX_NAME: usize = 256;
const MAX_HEADERS: usize = 256;
const MAX_ATTEMPTS: usize = 1_024;

/// Whether the message reached a handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeliveryOutcome {
    /// A handler had it and failed.
    Delivered,
    /// No handler has seen it: sending it again is safe.
    NotDelivered,
    /// Nobody can tell.
    Unknown,
}

/// How the bytes of a body are written in a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// There was none.
    None,
    /// JSON text of a value.
    Json,
    /// A string as it was.
    Text,
    /// Bytes in base 64.
    Base64,
}

/// The message itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Body {
    /// What `data` is.
    pub encoding: Encoding,
    /// The body, encoded.
    #[serde(default)]
    pub data: String,
}

/// One try to deliver it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// Who had it, as the router names instances; empty when nobody was picked.
    #[serde(default)]
    pub instance: String,
    /// When it ended, milliseconds since 1970.
    pub at_ms: f64,
    /// Stable code of the error, `LM_…` or the application's own.
    pub code: String,
    /// Words of the error.
    #[serde(default)]
    pub message: String,
    /// Microseconds from the pick to the failure.
    #[serde(default)]
    pub latency_us: f64,
}

/// A message that was given up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    /// Service it was for.
    pub service: String,
    /// Routing key, if it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Class of service: `best-effort`, `low-latency`, `high-throughput`, `high-reliability`, `critical`.
    #[serde(default = "best_effort")]
    pub qos: String,
    /// Whether a handler had it.
    pub outcome: DeliveryOutcome,
    /// Code of the last error: why it was given up.
    pub reason: String,
    /// Its words.
    #[serde(default)]
    pub message: String,
    /// The message.
    pub body: Body,
    /// What the caller sent along.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Every attempt, oldest first.
    #[serde(default)]
    pub attempts: Vec<Attempt>,
    /// When it was given up first, milliseconds since 1970.
    pub first_death_ms: f64,
    /// When it was given up last.
    pub last_death_ms: f64,
    /// True when sending it twice does no harm.
    #[serde(default)]
    pub idempotent: bool,
    /// True when later messages of its key were delivered before it.
    #[serde(default)]
    pub breaks_order: bool,
}

fn best_effort() -> String {
    "best-effort".to_owned()
}

impl DeadLetter {
    /// # Errors
    /// `Invalid` or `LimitExceeded`, naming the field.
    pub fn check(&self) -> Result<(), JournalError> {
        let text = |field: &'static str, text: &str, least: usize| {
            if (least..=MAX_NAME).contains(&text.len()) {
                return Ok(());
            }
            Err(JournalError::new(
                ErrorKind::LimitExceeded,
                format!("{field} has {least} to {MAX_NAME} bytes"),
            )
            .field(field)
            .limit(MAX_NAME as u64))
        };
        text("service", &self.service, 1)?;
        text("qos", &self.qos, 1)?;
        text("reason", &self.reason, 1)?;
        for (field, count, most) in [
            ("headers", self.headers.len(), MAX_HEADERS),
            ("attempts", self.attempts.len(), MAX_ATTEMPTS),
        ] {
            if count > most {
                return Err(JournalError::new(
                    ErrorKind::LimitExceeded,
                    format!("a letter has at most {most} {field}"),
                )
                .field(field)
                .limit(most as u64));
            }
        }
        if !self.first_death_ms.is_finite() || !self.last_death_ms.is_finite() {
            return Err(
                JournalError::new(ErrorKind::Invalid, "times are finite").field("lastDeathMs")
            );
        }
        Ok(())
    }
}
