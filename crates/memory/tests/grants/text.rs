//! A grant as bytes and as text: what is damaged is noticed.

use std::str::FromStr;

use linkmesh_memory::{
    grant::{Grant, GrantError, GrantId, MAX_GRANT_BYTES, Slice},
    region::Rights,
};
use proptest::prelude::*;

use crate::support::{ALL, EXPORTER, FRIEND, HOLDER, exports, issue, now, slice};

fn sample() -> Grant {
    let exports = exports();
    issue(&exports, slice(HOLDER, 8, 64, "ra"), 7)
        .delegate(&HOLDER, slice(FRIEND, 8, 8, "r"), [8; 16])
        .unwrap()
}

#[test]
fn the_text_survives_a_mail_and_nothing_else() {
    let grant = sample();
    let text = grant.to_string();
    assert!(
        text.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)),
        "safe in a URL"
    );
    assert_eq!(Grant::from_str(&text).unwrap(), grant);
    let lines: Vec<_> = text
        .as_bytes()
        .chunks(60)
        .map(|line| str::from_utf8(line).unwrap())
        .collect();
    let wrapped = format!("  {}\r\n", lines.join("\r\n  "));
    assert_eq!(Grant::from_str(&wrapped).unwrap(), grant);
    for damaged in [
        &text[4..],
        &text[..text.len() - 1],
        &(text.clone() + "A"),
        &(text.clone() + "="),
        "",
    ] {
        assert!(Grant::from_str(damaged).is_err(), "{damaged}");
    }
    let huge = "lmg_".to_owned() + &"A".repeat(1 << 20);
    assert_eq!(
        Grant::from_str(&huge).unwrap_err(),
        GrantError::TooLong {
            field: "grant",
            limit: MAX_GRANT_BYTES
        }
    );
    assert!(!format!("{grant:?}").contains("signature"));
}

proptest! {
    /// What was made decodes to itself, in bytes and in text.
    #[test]
    fn every_grant_comes_back_whole(
        name in "[a-z/é]{1,40}", epoch: u64, issued: u64, offset: u64, length: u64, bits in 0u8..8, expires: u64, nonce: [u8; 16],
    ) {
        let slice = Slice {
            holder: HOLDER.id(), offset, length, rights: Rights::from_bits(bits).unwrap(), expires_unix_ms: expires,
        };
        let made = Grant::issue(&EXPORTER, &name, epoch, issued, slice, nonce);
        if slice.end().is_none() {
            prop_assert_eq!(made.unwrap_err(), GrantError::Wider { field: "slice" });
            return Ok(());
        }
        let made = made.unwrap();
        prop_assert_eq!(made.name(), name);
        prop_assert_eq!((made.epoch(), made.issued_unix_ms(), *made.slice(), made.id()), (epoch, issued, slice, GrantId(nonce)));
        prop_assert_eq!(&Grant::decode(made.bytes()).unwrap(), &made);
        prop_assert_eq!(&made.to_string().parse::<Grant>().unwrap(), &made);
    }

    /// A changed byte is noticed by the checksum; with the checksum put right it is noticed by a signature or is no grant.
    #[test]
    fn no_byte_can_be_changed(at: prop::sample::Index, change in 1u8..) {
        let grant = sample();
        let mut bytes = grant.bytes().to_vec();
        let at = at.index(bytes.len() - 4);
        bytes[at] ^= change;
        let refused = matches!(Grant::decode(&bytes), Err(GrantError::Checksum | GrantError::Malformed { .. }));
        prop_assert!(refused);
        let body = bytes.len() - 4;
        let sum = crc32c::crc32c(&bytes[..body]).to_le_bytes();
        bytes[body..].copy_from_slice(&sum);
        let mut exports = exports();
        prop_assert!(exports.present(&bytes, &FRIEND.id(), &ALL, now(2_000)).is_err(), "byte {} was changed unnoticed", at);
    }

    #[test]
    fn random_bytes_never_panic_and_are_no_grant(mut bytes in prop::collection::vec(any::<u8>(), 0..600), framed: bool) {
        if framed {
            bytes.splice(..bytes.len().min(4), *b"LMG\x01");
            let sum = crc32c::crc32c(&bytes).to_le_bytes();
            bytes.extend_from_slice(&sum);
        }
        if let Ok(grant) = Grant::decode(&bytes) {
            prop_assert_eq!(grant.bytes(), &bytes);
        }
        let _ = String::from_utf8_lossy(&bytes).parse::<Grant>();
    }
}
