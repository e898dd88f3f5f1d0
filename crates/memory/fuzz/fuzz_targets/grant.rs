//! Any bytes are a grant or refused; what is accepted narrows link by link and is the same again in bytes and in text.
//!
//! `npm run fuzz -- grant --minutes 10`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use linkmesh_memory::grant::{Grant, MAX_GRANT_BYTES, MAX_LINKS};

fuzz_target!(|input: (bool, Vec<u8>)| {
    let (framed, mut bytes) = input;
    let _ = String::from_utf8_lossy(&bytes).parse::<Grant>();
    if framed {
        // Past the magic and the checksum, into the structure.
        let magic = bytes.len().min(4);
        bytes.splice(..magic, *b"LMG\x01");
        let sum = crc32c::crc32c(&bytes).to_le_bytes();
        bytes.extend_from_slice(&sum);
    }
    let Ok(grant) = Grant::decode(&bytes) else {
        return;
    };
    assert!(bytes.len() <= MAX_GRANT_BYTES && (1..=MAX_LINKS).contains(&grant.links().len()));
    assert_eq!(grant.bytes(), bytes);
    assert_eq!(grant.to_string().parse::<Grant>().as_ref(), Ok(&grant));
    for pair in grant.links().windows(2) {
        assert_eq!(pair[1].slice.check_within(&pair[0].slice), Ok(()));
    }
});
