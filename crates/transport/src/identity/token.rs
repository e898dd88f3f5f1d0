//! One-time join tokens: a secret that both ends prove to know, and the root that the joiner will meet.
//!
//! ```text
//! lmt1-  then hexadecimal: secret 32, fingerprint 32, check 4
//! ```
//! The secret never crosses the network: the joiner keys a MAC over its request with it, the issuer one over the reply,
//! both bound to the TLS channel.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::hmac;
use zeroize::Zeroizing;

use super::certificate::{MAX_NAME_BYTES, check_name};
use super::codec::{Reader, put_text};
use super::error::IdentityError;
use super::folder::Folder;
use super::id::{RootFingerprint, shake256};
use super::random;
use super::revocation::hex;

const PREFIX: &str = "lmt1-";
const SECRET_BYTES: usize = 32;
const CHECK_BYTES: usize = 4;
const TOKEN_BYTES: usize = SECRET_BYTES + 32 + CHECK_BYTES;
/// Bytes of a message authentication code.
pub(super) const MAC_BYTES: usize = 32;
/// How long a token is good unless told otherwise, seconds.
pub const DEFAULT_TOKEN_SECONDS: u64 = 15 * 60;
/// Longest that a token may be good, seconds.
pub const MAX_TOKEN_SECONDS: u64 = 7 * 24 * 3_600;
/// Most tokens that are open at a time.
pub const MAX_OPEN_TOKENS: usize = 1_024;

/// A join token. Whoever has it may join once: hand it over where nobody else listens.
#[derive(Clone)]
pub struct JoinToken {
    secret: Zeroizing<[u8; SECRET_BYTES]>,
    fingerprint: RootFingerprint,
}

impl JoinToken {
    pub(super) fn generate(fingerprint: RootFingerprint) -> Self {
        Self {
            secret: Zeroizing::new(random::bytes()),
            fingerprint,
        }
    }

    /// Names the token without giving its secret away.
    pub(super) fn id(&self) -> [u8; 16] {
        let digest = shake256("linkmesh join token", &[&self.secret[..]]);
        *digest.first_chunk().expect("32 bytes hold 16")
    }

    /// The root that the joiner pins.
    pub const fn fingerprint(&self) -> RootFingerprint {
        self.fingerprint
    }

    /// The text to hand over: 141 characters. A secret.
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(TOKEN_BYTES));
        bytes.extend_from_slice(&self.secret[..]);
        bytes.extend_from_slice(&self.fingerprint.0);
        let check = check_of(&bytes);
        bytes.extend_from_slice(&check);
        Zeroizing::new(format!("{PREFIX}{}", *Zeroizing::new(hex(&bytes))))
    }
}

fn check_of(bytes: &[u8]) -> [u8; CHECK_BYTES] {
    let digest = shake256("linkmesh token check", &[bytes]);
    *digest.first_chunk().expect("32 bytes hold 4")
}

impl FromStr for JoinToken {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed = |reason| IdentityError::Malformed {
            object: "token",
            reason,
        };
        let digits = text
            .trim()
            .strip_prefix(PREFIX)
            .ok_or(malformed("it does not start with `lmt1-`"))?
            .as_bytes();
        if digits.len() != 2 * TOKEN_BYTES {
            return Err(malformed("it is cut off or has too much"));
        }
        let mut bytes = Zeroizing::new([0; TOKEN_BYTES]);
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |at: usize| char::from(pair[at]).to_digit(16);
            let value = digit(0).zip(digit(1)).map(|(high, low)| high << 4 | low);
            *byte = value.ok_or(malformed("it has other characters than 0–9 and a–f"))? as u8;
        }
        let (body, check) = bytes.split_at(TOKEN_BYTES - CHECK_BYTES);
        if check_of(body) != check {
            return Err(malformed("a character is wrong"));
        }
        let mut reader = Reader::new("token", body, TOKEN_BYTES)?;
        Ok(Self {
            secret: Zeroizing::new(*reader.array()?),
            fingerprint: RootFingerprint(*reader.array()?),
        })
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "JoinToken({})", hex(&self.id()))
    }
}

/// The key that both ends derive MACs with.
#[derive(Debug)]
pub(super) struct TokenKey(hmac::Key);

/// Which of the two messages a MAC is over: one cannot be sent back as the other.
#[derive(Clone, Copy, Debug)]
pub(super) enum Message {
    Request,
    Reply,
}

impl TokenKey {
    pub(super) fn of(token: &JoinToken) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, &token.secret[..]))
    }

    fn context(&self, message: Message, exporter: &[u8; 64]) -> hmac::Context {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(match message {
            Message::Request => b"linkmesh join request",
            Message::Reply => b"linkmesh join reply  ",
        });
        context.update(exporter);
        context
    }

    /// The code over `bytes` on this channel.
    pub(super) fn mac(
        &self,
        message: Message,
        exporter: &[u8; 64],
        bytes: &[u8],
    ) -> [u8; MAC_BYTES] {
        let mut context = self.context(message, exporter);
        context.update(bytes);
        let tag = context.sign();
        *tag.as_ref().first_chunk().expect("SHA-256 has 32 bytes")
    }

    /// Whether `mac` is the code, in constant time.
    pub(super) fn verify(
        &self,
        message: Message,
        exporter: &[u8; 64],
        bytes: &[u8],
        mac: &[u8; MAC_BYTES],
    ) -> Result<(), IdentityError> {
        let expected = self.mac(message, exporter, bytes);
        if bool::from(subtle::ConstantTimeEq::ct_eq(&expected[..], &mac[..])) {
            Ok(())
        } else {
            Err(IdentityError::TokenRefused)
        }
    }
}

/// The tokens that are open: a file each, so that every process on this folder sees the same and one alone redeems it.
#[derive(Clone, Debug)]
pub(super) struct TokenShelf(pub(super) Folder);

/// An open token.
#[derive(Debug)]
pub(super) struct OpenToken {
    pub(super) key: TokenKey,
    /// The name that the issuer gave; empty leaves it to the joiner.
    pub(super) name: String,
}

const RECORD_LIMIT: usize = 8 + SECRET_BYTES + 1 + MAX_NAME_BYTES;

impl TokenShelf {
    /// Opens a token for `seconds`.
    pub(super) fn open(
        &self,
        token: &JoinToken,
        name: &str,
        seconds: u64,
        now: u64,
    ) -> Result<(), IdentityError> {
        if !(1..=MAX_TOKEN_SECONDS).contains(&seconds) {
            return Err(IdentityError::InvalidField {
                field: "ttlSeconds",
                reason: "is from 1 second to 7 days",
                limit: Some(MAX_TOKEN_SECONDS),
            });
        }
        if !name.is_empty() {
            check_name("name", name)?;
        }
        if self.sweep(now)? >= MAX_OPEN_TOKENS {
            return Err(IdentityError::TooLarge {
                object: "token",
                limit: MAX_OPEN_TOKENS,
            });
        }
        let mut record = Zeroizing::new(Vec::with_capacity(RECORD_LIMIT));
        record.extend_from_slice(&(now + seconds).to_le_bytes());
        record.extend_from_slice(&token.secret[..]);
        put_text(&mut record, name);
        self.0.write(&hex(&token.id()), &record)
    }

    fn read(&self, name: &str, now: u64) -> Result<OpenToken, IdentityError> {
        let record = Zeroizing::new(self.0.read(name, RECORD_LIMIT)?);
        let mut reader = Reader::new("token", &record, RECORD_LIMIT)?;
        if reader.u64()? < now {
            return Err(IdentityError::TokenRefused);
        }
        let key = TokenKey(hmac::Key::new(
            hmac::HMAC_SHA256,
            reader.array::<SECRET_BYTES>()?,
        ));
        let name = reader.text(MAX_NAME_BYTES)?.to_owned();
        reader.finish()?;
        Ok(OpenToken { key, name })
    }

    /// Looks a token up without spending it.
    pub(super) fn find(&self, id: &[u8; 16], now: u64) -> Result<OpenToken, IdentityError> {
        self.read(&hex(id), now)
            .map_err(|_| IdentityError::TokenRefused)
    }

    /// Spends a token. Of many at once, in any process, one succeeds.
    pub(super) fn spend(&self, id: &[u8; 16]) -> Result<(), IdentityError> {
        if self.0.remove(&hex(id))? {
            Ok(())
        } else {
            Err(IdentityError::TokenRefused)
        }
    }

    /// Removes what expired; how many are open.
    pub(super) fn sweep(&self, now: u64) -> Result<usize, IdentityError> {
        let mut open = 0;
        for name in self.0.names(2 * MAX_OPEN_TOKENS)? {
            match self.read(&name, now) {
                Ok(_) => open += 1,
                Err(IdentityError::TokenRefused) => drop(self.0.remove(&name)?),
                // Redeemed meanwhile, or not one of ours: not open either way.
                Err(_) => {}
            }
        }
        Ok(open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back_and_a_wrong_character_is_noticed() {
        let token = JoinToken::generate(RootFingerprint([5; 32]));
        let text = token.to_text();
        assert_eq!(text.len(), 141);
        let read: JoinToken = text.parse().unwrap();
        assert_eq!(
            (read.id(), read.fingerprint()),
            (token.id(), token.fingerprint())
        );
        assert!(!format!("{token:?}").contains(&text[5..40]));
        for at in 0..text.len() {
            let mut wrong = text.as_bytes().to_vec();
            wrong[at] = if wrong[at] == b'0' { b'1' } else { b'0' };
            let wrong = String::from_utf8(wrong).unwrap();
            assert_eq!(
                wrong.parse::<JoinToken>().unwrap_err().code(),
                "malformed",
                "{at}"
            );
        }
        assert!(text[..100].parse::<JoinToken>().is_err());
    }

    #[test]
    fn a_token_is_good_once_and_for_its_time() {
        let place = tempfile::tempdir().unwrap();
        let shelf = TokenShelf(Folder::open_or_create(&place.path().join("tokens")).unwrap());
        let token = JoinToken::generate(RootFingerprint([5; 32]));
        shelf.open(&token, "db", 60, 1_000).unwrap();
        assert_eq!(shelf.sweep(1_060).unwrap(), 1);
        assert_eq!(shelf.find(&token.id(), 1_060).unwrap().name, "db");
        assert_eq!(
            shelf.find(&token.id(), 1_061).unwrap_err(),
            IdentityError::TokenRefused
        );
        shelf.spend(&token.id()).unwrap();
        assert_eq!(
            shelf.spend(&token.id()).unwrap_err(),
            IdentityError::TokenRefused
        );
        assert_eq!(
            shelf.find(&token.id(), 1_001).unwrap_err(),
            IdentityError::TokenRefused
        );
        shelf.open(&token, "", 60, 1_000).unwrap();
        assert_eq!(shelf.sweep(1_061).unwrap(), 0);
        assert!(shelf.open(&token, "", 0, 1_000).is_err());
        assert!(shelf.open(&token, "a/b", 60, 1_000).is_err());
    }

    #[test]
    fn a_mac_belongs_to_its_message_and_channel() {
        let key = TokenKey::of(&JoinToken::generate(RootFingerprint([5; 32])));
        let mac = key.mac(Message::Request, &[1; 64], b"x");
        key.verify(Message::Request, &[1; 64], b"x", &mac).unwrap();
        assert!(key.verify(Message::Reply, &[1; 64], b"x", &mac).is_err());
        assert!(key.verify(Message::Request, &[2; 64], b"x", &mac).is_err());
        assert!(key.verify(Message::Request, &[1; 64], b"y", &mac).is_err());
    }
}
