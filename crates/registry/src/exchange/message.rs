//! What travels between the two ends: JSON behind a length.

use serde::{Deserialize, Serialize};

use crate::Handle;

use super::Offer;

/// The largest message that is read, in bytes. The length is checked before anything is stored.
pub const MAX_MESSAGE_BYTES: usize = 8 << 20;

/// One message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Message {
    /// All there is begins here: what was known before is forgotten. Deltas bring what does not fit.
    Full {
        /// Of this message.
        version: u64,
        /// The first instances.
        offers: Vec<Offer>,
    },
    /// What has changed since `version - 1`.
    Delta {
        /// Of this message.
        version: u64,
        /// New or changed instances.
        offers: Vec<Offer>,
        /// Instances that left.
        gone: Vec<Handle>,
    },
    /// The other side's messages do not fit together: everything again, please.
    Resync {},
}

/// Why bytes are no message. The stream they came on is of no use any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MessageError {
    /// Longer than [`MAX_MESSAGE_BYTES`].
    TooLong {
        /// What the length said.
        bytes: usize,
    },
    /// Not JSON of a message.
    Malformed(String),
    /// More instances than a process may offer.
    TooMany,
}

impl std::fmt::Display for MessageError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooLong { bytes } => write!(
                out,
                "a message of {bytes} bytes; {MAX_MESSAGE_BYTES} are allowed"
            ),
            Self::Malformed(why) => write!(out, "no message of the registry exchange: {why}"),
            Self::TooMany => out.write_str("more instances than a process may offer"),
        }
    }
}

impl std::error::Error for MessageError {}

impl Message {
    /// Appends the message: its length as u32, little-endian, then JSON.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        // Writing to memory does not fail, and no map here has keys that are not strings.
        drop(serde_json::to_writer(&mut *out, self));
        let length = (out.len() - start - 4) as u32;
        out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    }

    /// Takes the first message off `bytes`, when it is whole.
    ///
    /// # Errors
    /// [`MessageError`]; `bytes` is of no use then.
    pub fn decode(bytes: &mut Vec<u8>) -> Result<Option<Self>, MessageError> {
        let Some(length) = bytes.first_chunk::<4>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(*length) as usize;
        if length > MAX_MESSAGE_BYTES {
            return Err(MessageError::TooLong { bytes: length });
        }
        let Some(body) = bytes.get(4..4 + length) else {
            return Ok(None);
        };
        let message = serde_json::from_slice(body)
            .map_err(|error| MessageError::Malformed(error.to_string()))?;
        bytes.drain(..4 + length);
        Ok(Some(message))
    }
}
