//! The form that is pasted: `lmg_` and URL-safe base64 (RFC 4648 §5) without padding.

use std::{fmt, str::FromStr};

use super::{Grant, GrantError, MAX_GRANT_BYTES};

/// What the text of a grant begins with.
pub const PREFIX: &str = "lmg_";

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Longest text: white space of mail clients included, up to as much as the text itself.
const MAX_TEXT_BYTES: usize = 2 * (PREFIX.len() + MAX_GRANT_BYTES.div_ceil(3) * 4);

fn value(letter: u8) -> Option<u32> {
    Some(match letter {
        b'A'..=b'Z' => u32::from(letter - b'A'),
        b'a'..=b'z' => u32::from(letter - b'a') + 26,
        b'0'..=b'9' => u32::from(letter - b'0') + 52,
        b'-' => 62,
        b'_' => 63,
        _ => return None,
    })
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PREFIX)?;
        for group in self.bytes().chunks(3) {
            let bits = group
                .iter()
                .fold(0, |bits, byte| bits << 8 | u32::from(*byte))
                << (8 * (3 - group.len()));
            for place in 0..=group.len() {
                let index = bits >> (18 - 6 * place) & 63;
                write!(f, "{}", char::from(ALPHABET[index as usize]))?;
            }
        }
        Ok(())
    }
}

impl FromStr for Grant {
    type Err = GrantError;

    /// Reads the text; white space anywhere in it is skipped. There is one text for one grant: no other letters, no
    /// padding, no bits left over.
    ///
    /// # Errors
    /// As [`Grant::decode`].
    fn from_str(text: &str) -> Result<Self, GrantError> {
        let malformed = |reason| GrantError::Malformed { reason };
        if text.len() > MAX_TEXT_BYTES {
            return Err(GrantError::TooLong {
                field: "grant",
                limit: MAX_GRANT_BYTES,
            });
        }
        let body = text
            .trim_ascii()
            .strip_prefix(PREFIX)
            .ok_or_else(|| malformed("the text of a grant begins with lmg_"))?;
        let mut bytes = Vec::with_capacity(body.len() / 4 * 3 + 2);
        let (mut bits, mut held) = (0, 0);
        for letter in body.bytes().filter(|letter| !letter.is_ascii_whitespace()) {
            bits = bits << 6
                | value(letter)
                    .ok_or_else(|| malformed("a letter that is none of URL-safe base64"))?;
            held += 6;
            if held >= 8 {
                held -= 8;
                bytes.push((bits >> held) as u8);
                bits &= (1 << held) - 1;
            }
        }
        if held == 6 || bits != 0 {
            return Err(malformed("the text ends in the middle of a byte"));
        }
        Self::decode(&bytes)
    }
}
